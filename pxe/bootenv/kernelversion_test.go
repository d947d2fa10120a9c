package bootenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// bzImage is a kernel for x86 with that version text.
func bzImage(banner string) []byte {
	p := make([]byte, 0x400)
	copy(p[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(p[0x20e:], 0x100)
	copy(p[0x300:], banner)
	return p
}

// armImage is a kernel for arm64 with that text in it.
func armImage(text string) []byte {
	p := make([]byte, 0x100)
	copy(p[56:], "ARM\x64")
	return append(p, text...)
}

func TestKernelVersion(t *testing.T) {
	tests := []struct {
		name   string
		kernel []byte
		want   string
	}{
		{"x86", bzImage("6.12.117+deb13-amd64 (debian-kernel@lists.debian.org) #1 SMP"), "6.12.117+deb13-amd64"},
		{"arm64", armImage("\x00Linux version %s\x00Linux version 6.12.107+deb13-arm64 (x@y)"), "6.12.107+deb13-arm64"},
		{"at the end", append(bzImage("")[:0x300], "6.1"...), "6.1"},
		{"empty", nil, ""},
		{"no kernel", make([]byte, 0x400), ""},
		{"no version", bzImage(""), ""},
		{"a path", bzImage("6.1/../../x y"), ""},
		{"not a version", bzImage("vmlinuz"), ""},
		{"beyond the end", bzImage("6.1")[:0x2ff], ""},
		{"arm64 without", armImage("Linux version "), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := KernelVersion(tt.kernel)
			if got != tt.want || (tt.want == "") != errors.Is(err, ErrNotKernel) {
				t.Errorf("KernelVersion = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

// FuzzKernelVersion holds a version to stand in the kernel and to be fit for the
// name of a folder.
func FuzzKernelVersion(f *testing.F) {
	f.Add(bzImage("6.1 x"))
	f.Add(armImage("Linux version 6.1 x"))
	f.Fuzz(func(t *testing.T, kernel []byte) {
		version, err := KernelVersion(kernel)
		if err == nil && (!isVersion(version) || !bytes.Contains(kernel, []byte(version))) {
			t.Errorf("version %q", version)
		}
	})
}
