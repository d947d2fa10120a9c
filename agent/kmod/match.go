package kmod

import "strings"

// match tells whether a shell pattern, as depmod writes it, matches all of s:
// * is any text, ? any byte, [a-c] one of these bytes, [!a-c] none of them, and
// a backslash takes the next byte as it is. A [ that is not closed matches
// itself. It takes at most len(pattern) * len(s) steps.
func match(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // behind the last *, and where in s the rest is tried
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			star, from = p, i
			continue
		}
		if p < len(pattern) {
			if ok, n := matchByte(pattern[p:], s[i]); ok {
				p += n
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		p, i = star, from
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchByte tells whether the first element of a pattern that is not empty
// matches c, and the length of the element.
func matchByte(pattern string, c byte) (ok bool, length int) {
	switch pattern[0] {
	case '?':
		return true, 1
	case '[':
		if end := classEnd(pattern); end > 0 {
			return inClass(pattern[1:end], c), end + 1
		}
	case '\\':
		if len(pattern) > 1 {
			return pattern[1] == c, 2
		}
	}
	return pattern[0] == c, 1
}

// classEnd returns where the class that begins a pattern is closed, 0 if
// nowhere. A ] that comes first is one of its bytes.
func classEnd(pattern string) int {
	first := 1
	if len(pattern) > 1 && pattern[1] == '!' {
		first = 2
	}
	if first+1 > len(pattern) {
		return 0
	}
	if i := strings.IndexByte(pattern[first+1:], ']'); i >= 0 {
		return first + 1 + i
	}
	return 0
}

// inClass tells whether c is in a class, written without its brackets.
func inClass(class string, c byte) bool {
	not := len(class) > 0 && class[0] == '!'
	if not {
		class = class[1:]
	}
	in := false
	for i := 0; i < len(class); i++ {
		low, high := class[i], class[i]
		if i+2 < len(class) && class[i+1] == '-' {
			high = class[i+2]
			i += 2
		}
		in = in || low <= c && c <= high
	}
	return in != not
}
