package agent

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// plain makes a text from outside fit for a console and a report: one line,
// printable, at most so many bytes.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.TrimSpace(s[:min(len(s), 4*most)]))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
