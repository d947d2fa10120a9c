package bootenv

import (
	"bytes"
	"crypto"
	"debug/pe"
	"encoding/binary"
	"errors"
	"testing"
)

// sample is a program with a short and a long name of a section.
func sample() []byte {
	return buildProgram(testSection{".text", bytes.Repeat([]byte("code"), 200)}, testSection{".vendor_cert", []byte("data")})
}

func TestParseProgram(t *testing.T) {
	data := sample()
	p, err := ParseProgram(data)
	if err != nil {
		t.Fatal(err)
	}
	if p.Arch != "amd64" || string(p.Section(".vendor_cert")) != "data" || p.Section(".none") != nil {
		t.Errorf("program for %q, .vendor_cert %q", p.Arch, p.Section(".vendor_cert"))
	}
	peer, err := pe.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range peer.Sections {
		want, err := s.Data()
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Section(s.Name); !bytes.HasPrefix(want, got) || uint32(len(got)) != s.VirtualSize {
			t.Errorf("section %s has %d bytes, debug/pe has %d of %d", s.Name, len(got), s.VirtualSize, len(want))
		}
	}
}

// TestDigest changes each byte in turn: the digest leaves out the checksum and
// the place of the signatures, and nothing else.
func TestDigest(t *testing.T) {
	data := sample()
	p, err := ParseProgram(data)
	if err != nil {
		t.Fatal(err)
	}
	want := p.Digest(crypto.SHA256)
	for i := range data {
		data[i] ^= 1
		out := i >= p.checksum && i < p.checksum+4 || i >= p.certDir && i < p.certDir+8
		if same := bytes.Equal(p.Digest(crypto.SHA256), want); same != out {
			t.Errorf("byte %#x changed: same digest = %t, want %t", i, same, out)
		}
		data[i] ^= 1
	}
}

func TestParseProgramRejects(t *testing.T) {
	put16 := func(at int, v uint16) func([]byte) []byte {
		return func(p []byte) []byte { binary.LittleEndian.PutUint16(p[at:], v); return p }
	}
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(p []byte) []byte { binary.LittleEndian.PutUint32(p[at:], v); return p }
	}
	tests := []struct {
		name   string
		change func([]byte) []byte
	}{
		{"empty", func(p []byte) []byte { return nil }},
		{"no MZ", put16(0, 0)},
		{"PE header outside", put32(0x3c, 0xffffffff)},
		{"no PE", put16(0x40, 0)},
		{"another machine", put16(0x44, 0x1234)},
		{"short optional header", put16(0x54, 100)},
		{"long optional header", put16(0x54, 0xffff)},
		{"kind of optional header", put16(0x58, 0x107)},
		{"headers beyond the end", put32(0x58+60, 1<<30)},
		{"headers too short", put32(0x58+60, 16)},
		{"many sections", put16(0x46, 0xffff)},
		{"section beyond the end", put32(0x58+240+16, 1<<31)},
		{"section in the headers", put32(0x58+240+20, 8)},
		{"certificates beyond the end", put32(0x58+112+36, 1<<31)},
		{"certificates in the middle", func(p []byte) []byte { return put32(0x58+112+36, 8)(put32(0x58+112+32, 1024)(p)) }},
		{"cut", func(p []byte) []byte { return p[:1400] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseProgram(tt.change(sample())); !errors.Is(err, ErrNotProgram) {
				t.Errorf("ParseProgram = %v, want ErrNotProgram", err)
			}
		})
	}
}

// FuzzProgram changes a signed program: what still counts as signed must have
// the digest that was signed, for nobody but us has the key.
func FuzzProgram(f *testing.F) {
	signed := sign(f, sample())
	p, err := ParseProgram(signed)
	if err != nil {
		f.Fatal(err)
	}
	want := p.Digest(crypto.SHA256)
	f.Add(signed)
	f.Add(sign(f, signed))
	f.Add(sample())
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProgram(data)
		if err != nil {
			return
		}
		_, _ = ReadShim(p)
		_, _ = ReadGRUB(p)
		signatures, err := p.Signatures()
		if err == nil && !bytes.Equal(p.Digest(crypto.SHA256), want) {
			t.Errorf("%d signatures of a program that nobody has signed", len(signatures))
		}
	})
}
