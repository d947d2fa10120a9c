package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxField is the size in bytes of the longest text of an inventory.
const MaxField = 256

// Plain returns text as it may stand in a report, a database, a log and on a
// console: one line of at most most bytes, its blanks single and none at its
// ends, with ? for each byte that is not UTF-8 and each character that cannot
// be printed, such as those that steer terminals or turn text around. Zero
// bytes, with which firmware fills its fields, are blanks. Both ends make
// texts plain by this function, since a serial number is compared between
// them; what is plain stays as it is.
func Plain(text string, most int) string {
	var b strings.Builder
	blank := false
	for _, r := range text {
		if r == 0 || unicode.IsSpace(r) {
			blank = b.Len() > 0
			continue
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			r = '?'
		}
		size := utf8.RuneLen(r)
		if blank {
			size++
		}
		if b.Len()+size > most {
			break
		}
		if blank {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
		blank = false
	}
	return b.String()
}
