package version

import (
	"cmp"
	"strings"
)

// compareNumbers compares digits of any length; none are zero.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// cutAt cuts s before the first character that stop says yes to.
func cutAt(s string, stop func(byte) bool) (before, rest string) {
	for i := range len(s) {
		if stop(s[i]) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

// only tells whether s has letters, digits and the characters of marks alone.
func only(s, marks string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) && !isLetter(s[i]) && strings.IndexByte(marks, s[i]) < 0 {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func notDigit(c byte) bool { return !isDigit(c) }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
