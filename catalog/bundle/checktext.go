package bundle

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of texts in bytes, section 5.
const (
	longestTitle    = 200
	longestWord     = 256
	longestText     = 4096  // an argument, the default of a parameter
	longestLine     = 65536 // of a text file
	longestPattern  = 1000
	longestFileName = 255
)

// checkText checks a text of at most most bytes. It may have line feeds and
// tabs, but no other control characters.
func checkText(text string, most int) error {
	switch {
	case len(text) > most:
		return fmt.Errorf("%d bytes, at most %d are allowed", len(text), most)
	case !utf8.ValidString(text):
		return fmt.Errorf("%q is not UTF-8", text)
	}
	for _, c := range text {
		if c != '\n' && c != '\t' && isControl(c) {
			return fmt.Errorf("%q has the control character %U", text, c)
		}
	}
	return nil
}

// checkOneLine is checkText of what may have tabs, but no line feeds.
func checkOneLine(text string, most int) error {
	if strings.Contains(text, "\n") {
		return fmt.Errorf("%q is more than one line", text)
	}
	return checkText(text, most)
}

// checkWord checks a text that is there and has no blanks.
func checkWord(text string) error {
	if text == "" {
		return errors.New("is missing")
	}
	if strings.ContainsFunc(text, unicode.IsSpace) {
		return fmt.Errorf("%q has a blank in it", text)
	}
	return checkText(text, longestWord)
}

// isControl tells whether canonical JSON cannot have c as it is, or a terminal
// would obey it.
func isControl(c rune) bool { return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' }

// checkFileName checks the name of a file in a folder: no path, and nothing
// that a program takes for an option.
func checkFileName(name string) error {
	switch {
	case name == "":
		return errors.New("is missing")
	case name == "." || name == ".." || strings.HasPrefix(name, "-") || strings.ContainsAny(name, `/\`):
		return fmt.Errorf("%q is not the name of a file", name)
	}
	return checkOneLine(name, longestFileName)
}

// checkOneOf checks a word that may be empty.
func checkOneOf[T ~string](word T, known ...T) error {
	if word == "" || slices.Contains(known, word) {
		return nil
	}
	return fmt.Errorf("%q, want %s", string(word), orList(known))
}

// orList returns "a, b or c".
func orList[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// checkPattern checks a regular expression.
func checkPattern(text string) error {
	if err := checkOneLine(text, longestPattern); err != nil {
		return err
	}
	_, err := regexp.Compile(text)
	return err
}

// checkRising checks numbers that must grow.
func checkRising(list []int, least, most int) error {
	for i, n := range list {
		if n < least || n > most {
			return fmt.Errorf("%d, want %d to %d", n, least, most)
		}
		if i > 0 && n <= list[i-1] {
			return fmt.Errorf("%d after %d, want them in order", n, list[i-1])
		}
	}
	return nil
}
