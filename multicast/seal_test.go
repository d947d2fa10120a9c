package multicast

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// sealed returns a datagram of a symbol of so many bytes, and its sealer.
func sealed(size int) (*sealer, []byte) {
	s := newSealer(bytes.Repeat([]byte{0x2a}, secretSize), numberInText, 0, 0)
	p := header{kind: kindData, block: 2, symbol: 5, sequence: 7, frame: 812, tag: 0x7788}.append(nil)
	p = append(p, randomBytes(rand.New(rand.NewPCG(1, 2)), size+sealSize)...)
	s.seal(p)
	return s, p
}

// A datagram of which any bit is another one is refused.
func TestOpenTampered(t *testing.T) {
	s, good := sealed(256)
	if len(good) != datagramSize(256) {
		t.Fatalf("%d bytes, want %d", len(good), datagramSize(256))
	}
	for i := range good {
		for bit := range 8 {
			p := bytes.Clone(good)
			p[i] ^= 1 << bit
			if _, err := s.open(p); !errors.Is(err, errSeal) {
				t.Errorf("bit %d of byte %d: %v, want errSeal", bit, i, err)
			}
		}
	}
	if _, err := s.open(bytes.Clone(good)); err != nil {
		t.Errorf("the datagram as it was sealed: %v", err)
	}
}

// A datagram that is cut off or goes on is refused.
func TestOpenLength(t *testing.T) {
	s, good := sealed(256)
	for n := range len(good) {
		if _, err := s.open(bytes.Clone(good[:n])); !errors.Is(err, errSeal) {
			t.Errorf("%d of %d bytes: %v, want errSeal", n, len(good), err)
		}
	}
	if _, err := s.open(append(bytes.Clone(good), 0)); !errors.Is(err, errSeal) {
		t.Errorf("a byte too many: %v, want errSeal", err)
	}
}

// Each session, lane and epoch has its own key.
func TestOpenOther(t *testing.T) {
	_, good := sealed(256)
	secret := bytes.Repeat([]byte{0x2a}, secretSize)
	others := map[string]*sealer{
		"another secret":  newSealer(bytes.Repeat([]byte{0x2b}, secretSize), numberInText, 0, 0),
		"another session": newSealer(secret, numberInText+1, 0, 0),
		"another lane":    newSealer(secret, numberInText, 1, 0),
		"another epoch":   newSealer(secret, numberInText, 0, 1),
	}
	for name, s := range others {
		if _, err := s.open(bytes.Clone(good)); !errors.Is(err, errSeal) {
			t.Errorf("%s: %v, want errSeal", name, err)
		}
	}
}

func TestSealAllocates(t *testing.T) {
	s, p := sealed(1440)
	bad := make([]byte, len(p))
	n := testing.AllocsPerRun(100, func() {
		if _, err := s.open(p); err != nil {
			t.Fatal(err)
		}
		s.seal(p)
		copy(bad, p)
		bad[20]++
		if _, err := s.open(bad); err == nil {
			t.Fatal("a wrong seal is taken")
		}
	})
	if n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// FuzzOpen: any datagram is refused, unless it is one that was sealed.
func FuzzOpen(f *testing.F) {
	s, good := sealed(256)
	f.Add(good)
	f.Add(good[:headerSize+sealSize])
	f.Fuzz(func(t *testing.T, p []byte) {
		same := bytes.Equal(p, good)
		payload, err := s.open(bytes.Clone(p))
		if (err == nil) != same {
			t.Errorf("%x: opened to %x, %v", p, payload, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	s, p := sealed(1440)
	b.SetBytes(1440)
	b.ReportAllocs()
	for b.Loop() {
		s.seal(p)
	}
}

func BenchmarkOpen(b *testing.B) {
	s, good := sealed(1440)
	p := bytes.Clone(good)
	b.SetBytes(1440)
	b.ReportAllocs()
	for b.Loop() {
		copy(p, good)
		if _, err := s.open(p); err != nil {
			b.Fatal(err)
		}
	}
}
