package main

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestBitRate(t *testing.T) {
	for text, want := range map[string]bitRate{
		"98mbit": 98e6, "1gbit": 1e9, "2.5Gbit": 2.5e9, "500kbit": 500e3, "64000bit": 64000, "0.5mbit": 500e3,
		"98": 0, "": 0, "mbit": 0, "98 mbit": 0, "-1mbit": 0, "1e3mbit": 0, "0x10mbit": 0, "infgbit": 0, "nanmbit": 0, "1.2.3mbit": 0,
		"12MB": 0, "12mbyte": 0, "0mbit": 0, "999bit": 0, "99999999999gbit": 0,
	} {
		var r bitRate
		if err := r.Set(text); r != want || (err == nil) != (want > 0) {
			t.Errorf("Set(%q) = %d, %v; want %d", text, r, err, want)
		}
	}
}

func TestBits(t *testing.T) {
	for rate, want := range map[int64]string{0: "0.0 kbit/s", 500e3: "500.0 kbit/s", 98e6: "98.0 Mbit/s", 2.5e9: "2.50 Gbit/s"} {
		if got := bits(rate); got != want {
			t.Errorf("bits(%d) = %q, want %q", rate, got, want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for text, want := range map[string]byteSize{
		"512MiB": 512 << 20, "2gib": 2 << 30, "1.5GiB": 3 << 29, "64mib": 64 << 20,
		"63mib": 0, "": 0, "512": 0, "512MB": 0, "-1gib": 0, "9999999999999gib": 0,
	} {
		var s byteSize
		if err := s.Set(text); s != want || (err == nil) != (want > 0) {
			t.Errorf("Set(%q) = %d, %v; want %d", text, s, err, want)
		}
	}
}

func TestFingerprint(t *testing.T) {
	digits := strings.Repeat("0f", 32)
	for text, ok := range map[string]bool{
		digits: true, strings.ToUpper(digits): true, "0f:" + digits[2:]: true,
		"": false, digits[2:]: false, digits + "00": false, "zz" + digits[2:]: false,
	} {
		var f fingerprint
		if err := f.Set(text); (err == nil) != ok || ok && f.String() != digits {
			t.Errorf("Set(%q) = %v, %v; want it taken: %t", text, f, err, ok)
		}
	}
}

func TestSessionKey(t *testing.T) {
	t.Setenv("SLIPCAST_KEY", "a key of the environment")
	for flag, want := range map[string]string{"": "a key of the environment", "a key of the flag": "a key of the flag"} {
		if got, err := sessionKey(flag); got != want || err != nil {
			t.Errorf("sessionKey(%q) = %q, %v; want %q", flag, got, err, want)
		}
	}
	var usage *usageError
	if _, err := sessionKey("too short"); !errors.As(err, &usage) {
		t.Errorf("a short key: %v, want a usage error", err)
	}
}

// Each option that cannot be is refused; what is left out becomes a default.
func TestSendOptions(t *testing.T) {
	good := sendOptions{hops: 1, straggler: "catchup"}
	tests := []struct {
		name string
		set  func(o *sendOptions)
		want string // in the error; empty for none
	}{
		{"defaults", func(*sendOptions) {}, ""},
		{"long name", func(o *sendOptions) { o.name = strings.Repeat("n", 64) }, "at most 63"},
		{"name of control characters", func(o *sendOptions) { o.name = "a\x1b[2J" }, "visible"},
		{"wait", func(o *sendOptions) { o.wait = -1 }, "--wait"},
		{"settle", func(o *sendOptions) { o.settle = -time.Second }, "--settle"},
		{"hops", func(o *sendOptions) { o.hops = 256 }, "--hops is 1 to 255, not 256"},
		{"rates", func(o *sendOptions) { o.rate, o.minRate = 1e6, 2e6 }, "--min-rate is above --rate"},
		{"floor alone", func(o *sendOptions) { o.minRate = 2e6 }, ""},
		{"straggler", func(o *sendOptions) { o.straggler = "shout" }, `catchup, park, unicast, drop, not "shout"`},
		{"key", func(o *sendOptions) { o.key = "short" }, "--key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := good
			tt.set(&o)
			err := o.check("images/room-12.img.zst")
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("check = %v, want %q", err, tt.want)
			}
		})
	}
	if err := good.check("images/room-12.img.zst"); err != nil || good.name != "room-12" {
		t.Errorf("name = %q, %v; want room-12", good.name, err)
	}
}

func TestImageName(t *testing.T) {
	for path, want := range map[string]string{
		"a/room.img.zst": "room", "room.zst": "room", "room.img": "room", "room": "room", ".img.zst": ".img.zst", "a.b.img.zst": "a.b",
	} {
		if got := imageName(path); got != want {
			t.Errorf("imageName(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	for text, want := range map[string]string{"": "", "abcd": "abcd", "abcde": "abcd", "äöü": "äö", "aäö": "aä", "日本": "日"} {
		if got := shorten(text, 4); got != want {
			t.Errorf("shorten(%q, 4) = %q, want %q", text, got, want)
		}
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{"room-12": "room-12", "my room": "'my room'", "it's": `'it'\''s'`, "$HOME": "'$HOME'"} {
		if got := quoted(word); got != want {
			t.Errorf("quoted(%q) = %s, want %s", word, got, want)
		}
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"pc-07": "pc-07", "Büro 7": "Büro 7", "日本": "日本", "a\x1b[2Jb": "a?[2Jb", "a\nb\tc": "a b c", "a\u009bb": "a?b",
		"a\u202eb": "a?b", "a\xffb": "a\ufffdb", "0123456789abcdef": "0123456789",
	} {
		if got := plain(text, 10); got != want {
			t.Errorf("plain(%q) = %q, want %q", text, got, want)
		}
	}
}

// Nothing that steers a terminal gets through, and no more than was asked for.
func FuzzPlain(f *testing.F) {
	f.Add("pc\x1b]0;title\x07\u202e\r\n", 8)
	f.Fuzz(func(t *testing.T, text string, longest int) {
		got := plain(text, longest)
		if n := utf8.RuneCountInString(got); n > max(longest, 0) {
			t.Errorf("plain(%q, %d) has %d characters", text, longest, n)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("plain(%q, %d) = %q, which has %U", text, longest, got, r)
			}
		}
	})
}
