package tftp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCleanName(t *testing.T) {
	tests := []struct {
		raw, want string
		escapes   bool
	}{
		{"snponly.efi", "snponly.efi", false},
		{"/grub/x86_64-efi/command.lst", "grub/x86_64-efi/command.lst", false},
		{`\sb\shimx64.efi`, "sb/shimx64.efi", false},
		{"//sb//./grubx64.efi", "sb/grubx64.efi", false},
		{"sb/shimx64.efi\xff", "sb/shimx64.efi", false},
		{"sb/shimx64.efi \r\n", "sb/shimx64.efi", false},
		{"sb/shimx64.efi \xff \xff", "sb/shimx64.efi", false},
		{"sb/../grub/grub.cfg", "grub/grub.cfg", false},
		{"../etc/passwd", "etc/passwd", true},
		{`sb\..\..\x`, "x", true},
		{"sb/\x01\xe4\x80", "sb/???", false},
		{"..", "", true},
		{"/", "", false},
	}
	for _, tt := range tests {
		if got, escapes := cleanName([]byte(tt.raw)); got != tt.want || escapes != tt.escapes {
			t.Errorf("cleanName(%q) = %q, %v, want %q, %v", tt.raw, got, escapes, tt.want, tt.escapes)
		}
	}
}

func TestParseReplyRejects(t *testing.T) {
	for _, p := range []string{"", "\x00\x04\x00", "\x00\x03\x00\x01x", "\x00\x06a\x00", "\x01\x04\x00\x01"} {
		if _, err := parseReply([]byte(p)); !errors.Is(err, ErrMalformed) {
			t.Errorf("parseReply(%x) = %v, want ErrMalformed", p, err)
		}
	}
}

// FuzzRequest shows that a name is harmless, whatever was sent, that options
// are within their bounds and there once, and that a request made of what was
// understood is understood alike.
func FuzzRequest(f *testing.F) {
	f.Add(ask(opRead, "sb/shimx64.efi", "octet", "tsize", "0", "blksize", "1468", "windowsize", "4"))
	f.Add(ask(opRead, `\a\..\b`+"\xff", "Octet", "TIMEOUT", "3"))
	f.Add(ask(opWrite, "x", "netascii"))
	f.Fuzz(func(t *testing.T, p []byte) {
		op, w, err := parseRequest(p)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("parseRequest(%x) = %v, want ErrMalformed", p, err)
			}
			return
		}
		if op == opWrite {
			return
		}
		parts := strings.Split(w.name, "/")
		if slices.Contains(parts, "..") || slices.Contains(parts, "") || strings.Contains(w.name, `\`) ||
			strings.ContainsFunc(w.name, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%x asks for %q", p, w.name)
		}
		for _, o := range w.options {
			if least, most, known := bounds(o.name); !known || uint64(o.value) < least || uint64(o.value) > most {
				t.Errorf("%x has option %+v", p, o)
			}
		}
		checkAgain(t, w)
	})
}

// checkAgain makes a request of w and parses it.
func checkAgain(t *testing.T, w wish) {
	t.Helper()
	mode := "mail"
	if w.octet {
		mode = "octet"
	}
	p := append(ask(opRead, w.name, mode), bytes.TrimPrefix(appendOptions(nil, w.options), []byte{0, byte(opOptions)})...)
	if len(p) > maxRequest || strings.HasSuffix(w.name, " ") {
		return // mail and octet differ in length; a space was before a slash, and now is at the end
	}
	_, again, err := parseRequest(p)
	if err != nil || again.name != w.name || again.octet != w.octet || again.escapes || !slices.Equal(again.options, w.options) {
		t.Errorf("%+v is sent as %x and understood as %+v, error %v", w, p, again, err)
	}
}

func TestAgree(t *testing.T) {
	tests := []struct {
		asked  []option
		limit  int
		want   terms
		accept int
	}{
		{nil, 1468, terms{block: 512, window: 1}, 0},
		{nil, 400, terms{block: 400, window: 1}, 0},
		{[]option{{blockSize, 65464}, {windowSize, 64}}, 65464, terms{block: 65464, window: 1}, 2},
		{[]option{{blockSize, 8192}, {windowSize, 64}}, 8968, terms{block: 8192, window: 11}, 2},
		{[]option{{blockSize, 1468}, {windowSize, 65535}}, 1468, terms{block: 1468, window: 64}, 2},
		{[]option{{windowSize, 4}}, 1468, terms{block: 512, window: 4}, 1},
	}
	for _, tt := range tests {
		got := agree(tt.asked, 1000, tt.limit)
		if got.block != tt.want.block || got.window != tt.want.window || len(got.accept) != tt.accept {
			t.Errorf("agree(%v, limit %d) = %+v, want %+v and %d options", tt.asked, tt.limit, got, tt.want, tt.accept)
		}
		if n := got.window * (got.block + headerSize); n > maxWindowBytes && got.window > 1 {
			t.Errorf("agree(%v, limit %d): a window of %d bytes, want at most %d", tt.asked, tt.limit, n, maxWindowBytes)
		}
	}
}
