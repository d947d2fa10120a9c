package debian

import "strings"

// isName tells whether s can be the name of a package, see deb-control(5).
func isName(s string) bool {
	return len(s) >= 2 && only(s, "+-.") && strings.IndexByte("+-.", s[0]) < 0
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
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
