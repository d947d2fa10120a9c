package wire

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestPlain(t *testing.T) {
	tests := []struct {
		text string
		most int
		want string
	}{
		{"", 10, ""},
		{"S3Z9NX0M\x00\x00", 10, "S3Z9NX0M"},
		{"  WD  Blue\t\r\nSN550 ", 20, "WD Blue SN550"},
		{"\x1b[2Jgone\x07", 20, "?[2Jgone?"},
		{"a\u202egpj.exe", 20, "a?gpj.exe"},
		{"\xff\xc3(\ufffd", 10, "??(?"},
		{"Größe", 10, "Größe"},
		{"Größe", 3, "Gr"},
		{"ab cd", 3, "ab"},
		{"ab cd", 4, "ab c"},
		{"ab", 0, ""},
	}
	for _, tt := range tests {
		if got := Plain(tt.text, tt.most); got != tt.want {
			t.Errorf("Plain(%q, %d) = %q, want %q", tt.text, tt.most, got, tt.want)
		}
	}
}

// A text that is plain is a line of printable characters, bounded, and stays
// as it is.
func FuzzPlain(f *testing.F) {
	f.Add("a\x00b  \x1b[31m\xff", 256)
	f.Add("Größe \u202e", 4)
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = min(max(most, 0), 1<<16)
		got := Plain(text, most)
		if len(got) > most || !utf8.ValidString(got) || Plain(got, most) != got || strings.Contains(got, "  ") || strings.TrimSpace(got) != got {
			t.Errorf("Plain(%q, %d) = %q", text, most, got)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Plain(%q, %d) = %q, which cannot be printed", text, most, got)
		}
	})
}
