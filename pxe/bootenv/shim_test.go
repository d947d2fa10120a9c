package bootenv

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// shimOf builds a shim with these tables.
func shimOf(trusted, revoked []byte, level string) []byte {
	le := binary.LittleEndian
	vendor := le.AppendUint32(nil, uint32(len(trusted)))
	vendor = le.AppendUint32(vendor, uint32(len(revoked)))
	vendor = le.AppendUint32(vendor, 16)
	vendor = le.AppendUint32(vendor, uint32(16+len(trusted)))
	vendor = append(append(vendor, trusted...), revoked...)
	levels := append([]byte{0, 0, 0, 0, 8, 0, 0, 0, 17, 0, 0, 0}, "grub,1\n\x00\x00"+level+"\x00"...)
	return buildProgram(testSection{".vendor_cert", vendor}, testSection{".sbatlevel", levels})
}

// signatureList is an EFI signature list with one entry.
func signatureList(kind string, entry []byte) []byte {
	out := binary.LittleEndian.AppendUint32([]byte(kind), uint32(28+16+len(entry)))
	out = binary.LittleEndian.AppendUint32(out, 0)
	out = binary.LittleEndian.AppendUint32(out, uint32(16+len(entry)))
	return append(append(out, make([]byte, 16)...), entry...)
}

func TestShimCheck(t *testing.T) {
	ca := testCA(t)
	key := testKey(t, signerKey)
	stranger := certificate(t, "Stranger", key, nil, key)
	grub := sign(t, buildProgram(testSection{".sbat", []byte("sbat,1,a,b,1,c\ngrub,4,FSF,grub,2.12,url\n")}))
	digest := program(t, grub).Digest(crypto.SHA256)
	changed := bytes.Clone(grub)
	changed[0x400] ^= 1
	tests := []struct {
		name string
		shim []byte
		next []byte
		want error
	}{
		{"trusted", shimOf(ca.Raw, nil, "sbat,1,2025\ngrub,4\n"), grub, nil},
		{"trusted by a list", shimOf(signatureList(guidX509, ca.Raw), nil, ""), grub, nil},
		{"without SBAT", shimOf(ca.Raw, nil, "grub,4\n"), sign(t, sample()), nil},
		{"a stranger", shimOf(stranger.Raw, nil, ""), grub, ErrRefused},
		{"unsigned", shimOf(ca.Raw, nil, ""), sample(), ErrUnsigned},
		{"changed", shimOf(ca.Raw, nil, ""), changed, ErrSignature},
		{"revoked digest", shimOf(ca.Raw, signatureList(guidSHA256, digest), ""), grub, ErrRefused},
		{"another revoked digest", shimOf(ca.Raw, signatureList(guidSHA256, make([]byte, 32)), ""), grub, nil},
		{"revoked authority", shimOf(ca.Raw, signatureList(guidX509, ca.Raw), ""), grub, ErrRefused},
		{"old generation", shimOf(ca.Raw, nil, "grub,5\n"), grub, ErrRefused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			shim, err := ReadShim(program(t, tt.shim))
			if err != nil {
				t.Fatal(err)
			}
			if err := shim.Check(program(t, tt.next)); !errors.Is(err, tt.want) || err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("Check = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestReadShimRejects(t *testing.T) {
	ca := testCA(t)
	outside := buildProgram(testSection{".vendor_cert", bytes.Repeat([]byte{0xff}, 16)})
	list := signatureList(guidX509, ca.Raw)
	list[16]++
	tests := []struct {
		name string
		data []byte
		want error
	}{
		{"no shim", sample(), ErrNotProgram},
		{"tables outside", outside, ErrNotProgram},
		{"damaged certificate", shimOf(ca.Raw[:100], nil, ""), ErrNotProgram},
		{"damaged list", shimOf(list, nil, ""), ErrNotProgram},
		{"damaged level", shimOf(ca.Raw, nil, "grub\n"), ErrSBAT},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if s, err := ReadShim(program(t, tt.data)); !errors.Is(err, tt.want) {
				t.Errorf("ReadShim = %+v, %v, want %v", s, err, tt.want)
			}
		})
	}
}

func TestParseSBATRejects(t *testing.T) {
	for _, text := range []string{"grub\n", ",1\n", "grub,x\n", "grub,-1\n", "grub,65536\n"} {
		if got, err := ParseSBAT([]byte(text)); !errors.Is(err, ErrSBAT) {
			t.Errorf("ParseSBAT(%q) = %+v, %v, want ErrSBAT", text, got, err)
		}
	}
}

// FuzzShim puts any bytes where a shim has its tables. Whatever it says to
// trust, it must not let an unsigned program pass.
func FuzzShim(f *testing.F) {
	ca := testCA(f)
	for _, data := range [][]byte{
		shimOf(ca.Raw, signatureList(guidSHA256, make([]byte, 32)), "grub,5\n"), shimOf(signatureList(guidX509, ca.Raw), nil, ""),
	} {
		p := program(f, data)
		f.Add(p.Section(".vendor_cert"), p.Section(".sbatlevel"))
	}
	f.Fuzz(func(t *testing.T, vendor, level []byte) {
		p := program(t, buildProgram(testSection{".vendor_cert", vendor}, testSection{".sbatlevel", level}))
		shim, err := ReadShim(p)
		if err != nil {
			return
		}
		for _, c := range shim.Level {
			if c.Generation < 0 || c.Name == "" || strings.Contains(c.Name, ",") {
				t.Errorf("component %+v", c)
			}
		}
		if err := shim.Check(program(t, sample())); !errors.Is(err, ErrUnsigned) {
			t.Errorf("Check of an unsigned program = %v, want ErrUnsigned", err)
		}
	})
}
