package bootenv

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"testing"
)

// fakeAgent returns a static program for x86-64: a header, one segment that is
// loaded, and behind it what stripping removes.
func fakeAgent() []byte {
	le := binary.LittleEndian
	b := make([]byte, 64+56)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[0x10:], 2) // executable
	le.PutUint16(b[0x12:], 62)
	le.PutUint32(b[0x14:], 1)
	le.PutUint64(b[0x20:], 64) // segments
	le.PutUint16(b[0x34:], 64)
	le.PutUint16(b[0x36:], 56)
	le.PutUint16(b[0x38:], 1)
	p := b[64:]
	le.PutUint32(p, 1) // loaded
	le.PutUint32(p[4:], 5)
	le.PutUint64(p[32:], uint64(len(b))+4)
	le.PutUint64(p[40:], uint64(len(b))+4)
	return append(b, "code, and symbols that nobody needs"...)
}

func TestStripAgent(t *testing.T) {
	whole := fakeAgent()
	got, err := stripAgent(whole, X64)
	if err != nil || !bytes.Equal(got, whole[:64+56+4]) {
		t.Errorf("stripAgent = %q, %v, want %q", got, err, whole[:64+56+4])
	}
	if again, err := stripAgent(got, X64); err != nil || !bytes.Equal(again, got) {
		t.Errorf("stripAgent of what is stripped = %q, %v, want it as it is", again, err)
	}
	withSections := bytes.Clone(whole)
	binary.LittleEndian.PutUint64(withSections[0x28:], uint64(len(whole)))
	binary.LittleEndian.PutUint16(withSections[0x3a:], 64)
	binary.LittleEndian.PutUint16(withSections[0x3c:], 1)
	withSections = append(withSections, make([]byte, 64)...)
	if got, err = stripAgent(withSections, X64); err != nil {
		t.Fatal(err)
	}
	if f, err := elf.NewFile(bytes.NewReader(got)); err != nil || len(f.Sections) != 0 || len(f.Progs) != 1 {
		t.Errorf("stripped program = %+v, %v, want one without sections", f, err)
	}
}

func TestStripAgentRejects(t *testing.T) {
	change := func(at int, value uint16) []byte {
		p := fakeAgent()
		binary.LittleEndian.PutUint16(p[at:], value)
		return p
	}
	tests := []struct {
		name string
		data []byte
		arch Arch
	}{
		{"empty", nil, X64},
		{"a script", []byte("#!/bin/sh\n"), X64},
		{"for another processor", fakeAgent(), ARM64},
		{"with an interpreter", change(64, 3), X64},
		{"dynamic", change(64, 2), X64},
		{"position independent", change(0x10, 3), X64},
		{"without a segment", change(0x38, 0), X64},
		{"cut short", fakeAgent()[:64+56+3], X64},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := stripAgent(tt.data, tt.arch); !errors.Is(err, ErrNotAgent) {
				t.Errorf("stripAgent = %v, want ErrNotAgent", err)
			}
		})
	}
}
