package fresh

import (
	"bytes"
	"strings"
	"testing"
)

func TestIsHostname(t *testing.T) {
	for _, name := range []string{"pc1", "PC-1.room.example.org", "1", strings.Repeat("a", 63)} {
		if !isHostname(name) {
			t.Errorf("%q is no host name", name)
		}
	}
	for _, name := range []string{"", ".", "a.", ".a", "-a", "a-", "a_b", "a b", "ü", "a\n", strings.Repeat("a", 64), strings.Repeat("a.", 32) + "a"} {
		if isHostname(name) {
			t.Errorf("%q is a host name", name)
		}
	}
}

func TestEditHosts(t *testing.T) {
	tests := []struct{ name, text, host, want string }{
		{"empty", "", "pc1", ""},
		{"no such line", "127.0.0.1 localhost\n", "pc1", "127.0.0.1 localhost\n"},
		{"short", "127.0.1.1 golden\n", "pc1", "127.0.1.1\tpc1\n"},
		{"domain stays", "127.0.1.1 golden.lab golden\n::1 ip6\n", "pc1", "127.0.1.1\tpc1.lab\tpc1\n::1 ip6\n"},
		{"new domain", "127.0.1.1 golden.lab golden\n", "pc1.room", "127.0.1.1\tpc1.room\tpc1\n"},
		{"no end of line", "x\n127.0.1.1 golden", "pc1", "x\n127.0.1.1\tpc1"},
		{"comment", "# 127.0.1.1 golden\n127.0.1.10 x\n", "pc1", "# 127.0.1.1 golden\n127.0.1.10 x\n"},
		{"odd domain", "127.0.1.1 golden.;x\n", "pc1", "127.0.1.1\tpc1\n"},
	}
	for _, tt := range tests {
		if got := string(editHosts([]byte(tt.text), tt.host)); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Only lines of 127.0.1.1 change, and a second time nothing does.
func FuzzEditHosts(f *testing.F) {
	f.Add([]byte("127.0.0.1 localhost\n127.0.1.1 golden.lab golden\n\n"))
	f.Add([]byte("\t127.0.1.1\vx\r\n127.0.1.1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got := editHosts(text, "pc1")
		if again := editHosts(got, "pc1"); !bytes.Equal(again, got) {
			t.Errorf("%q becomes %q, and then %q", text, got, again)
		}
		old, now := bytes.Split(text, []byte("\n")), bytes.Split(got, []byte("\n"))
		if len(old) != len(now) {
			t.Fatalf("%q has other lines than %q", got, text)
		}
		for i := range old {
			if !bytes.Equal(old[i], now[i]) && !bytes.HasPrefix(bytes.TrimSpace(old[i]), []byte("127.0.1.1")) {
				t.Errorf("line %q became %q", old[i], now[i])
			}
		}
	})
}
