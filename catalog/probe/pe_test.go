package probe

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func TestPE(t *testing.T) {
	dll := fixture(t, "version.dll")
	changed := func(old, replacement string) string {
		t.Helper()
		if strings.Count(dll, old) != 1 {
			t.Fatalf("%x is %d times in version.dll", old, strings.Count(dll, old))
		}
		return strings.Replace(dll, old, replacement, 1)
	}
	const signature, key = "\xbd\x04\xef\xfe", "V\x00S\x00_\x00V\x00E\x00R\x00"
	check(t, probesOf(t, tree{
		"Windows/System32/": "", "Windows/System32/ntoskrnl.exe": dll, "a.dll": dll, "icon.dll": fixture(t, "icon.dll"), "text.dll": "MZ, but no program",
		"empty.dll": "", "dir.dll/": "", "short.dll": dll[:2000], "elf": elfX64,
		"signature.dll": changed(signature, "\xbd\x04\xef\xff"), "key.dll": changed(key, "X\x00S\x00_\x00V\x00E\x00R\x00"),
	}), []expectation{
		{probe: "family", want: "windows"}, {probe: "arch", want: "x64"}, {probe: "distro", want: "windows"},
		{probe: "pe|a.dll", want: "9.3.0.148"}, {probe: "pe|A.DLL", want: "9.3.0.148"}, {probe: "pe|windows/system32/NTOSKRNL.EXE", want: "9.3.0.148"},
		{probe: "pe|icon.dll", want: ""}, {probe: "pe|no.dll", want: ""}, {probe: "pe|text.dll", fault: "text.dll: not a sound Windows program"},
		{probe: "pe|empty.dll", fault: "not a sound Windows program"}, {probe: "pe|elf", fault: "not a sound Windows program"},
		{probe: "pe|dir.dll", fault: "not a regular file"}, {probe: "pe|short.dll", fault: "not a sound Windows program"},
		{probe: "pe|signature.dll", fault: "no VS_FIXEDFILEINFO"}, {probe: "pe|key.dll", fault: "no VS_VERSION_INFO"},
	})
}

// TestPECut holds that a program that is cut short somewhere, or has a byte
// that is wrong, is an error or a version, and no panic.
func TestPECut(t *testing.T) {
	dll := fixture(t, "version.dll")
	sound := 0
	for n := range len(dll) {
		if v, err := fileVersion(strings.NewReader(dll[:n])); err != nil && !errors.Is(err, errPE) {
			t.Fatalf("%d bytes: %q, %v, want errPE", n, v, err)
		}
		for _, c := range []byte{0, 0xff} {
			p := []byte(dll)
			p[n] = c
			v, err := fileVersion(strings.NewReader(string(p)))
			if err != nil && !errors.Is(err, errPE) {
				t.Fatalf("byte %d as %#x: %q, %v, want errPE", n, c, v, err)
			}
			if err == nil && v == "9.3.0.148" {
				sound++
			}
		}
	}
	if sound < len(dll) || sound == 2*len(dll) {
		t.Errorf("%d of %d changes leave the version as it is", sound, 2*len(dll))
	}
}

// FuzzPE holds that the version of a program is empty or four numbers that its
// bytes hold somewhere as VS_FIXEDFILEINFO does.
func FuzzPE(f *testing.F) {
	f.Add([]byte(fixture(f, "version.dll")))
	f.Add([]byte(fixture(f, "icon.dll")))
	f.Fuzz(func(t *testing.T, p []byte) {
		v, err := fileVersion(strings.NewReader(string(p)))
		if err != nil {
			if !errors.Is(err, errPE) {
				t.Errorf("%v, want errPE", err)
			}
			return
		}
		if v != "" && !holdsVersion(p, v) {
			t.Errorf("%x has no version %s", p, v)
		}
	})
}

// FuzzVersionInfo is FuzzPE for the resource alone.
func FuzzVersionInfo(f *testing.F) {
	dll := fixture(f, "version.dll")
	if i := strings.Index(dll, "V\x00S\x00_\x00"); i >= 6 {
		f.Add([]byte(dll[i-6:]))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if v, err := fixedFileInfo(p); err == nil && v != "" && !holdsVersion(p, v) {
			t.Errorf("%x has no version %s", p, v)
		}
	})
}

// holdsVersion looks for a version behind each signature in p.
func holdsVersion(p []byte, v string) bool {
	for i := 0; i+16 <= len(p); i++ {
		if binary.LittleEndian.Uint32(p[i:]) != 0xfeef04bd {
			continue
		}
		var words []string
		for _, at := range []int{10, 8, 14, 12} {
			words = append(words, itoa(binary.LittleEndian.Uint16(p[i+at:])))
		}
		if strings.Join(words, ".") == v {
			return true
		}
	}
	return false
}
