package fresh

import (
	"bytes"
	"testing"
)

func TestProbe(t *testing.T) {
	for _, m := range magics() {
		p := make([]byte, 0x11000)
		copy(p[m.at:], m.bytes)
		if got := probe(bytes.NewReader(p)); got != m.kind {
			t.Errorf("%q at %d is %q, want %q", m.bytes, m.at, got, m.kind)
		}
		if got := probe(bytes.NewReader(p[:m.at+int64(len(m.bytes))-1])); got != unknown {
			t.Errorf("%q cut short is %q, want nothing", m.bytes, got)
		}
	}
}

// What follows a volume's bytes as zeros is no reason to see something else.
func FuzzProbe(f *testing.F) {
	for _, m := range magics() {
		f.Add(append(make([]byte, m.at), m.bytes...))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		short := probe(bytes.NewReader(p))
		if long := probe(bytes.NewReader(append(bytes.Clone(p), make([]byte, 0x10100)...))); long != short {
			t.Errorf("it is %q, with zeros behind it %q", short, long)
		}
	})
}
