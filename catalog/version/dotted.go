package version

import (
	"errors"
	"strings"
)

// checkDotted takes numbers of any length between dots.
func checkDotted(text string) error {
	for part := range strings.SplitSeq(text, ".") {
		if _, rest := cutAt(part, notDigit); part == "" || rest != "" {
			return errors.New("is not numbers between dots")
		}
	}
	return nil
}

// checkWindows takes up to four numbers of 16 bits, as VS_FIXEDFILEINFO has
// them.
func checkWindows(text string) error {
	if err := checkDotted(text); err != nil {
		return err
	}
	if strings.Count(text, ".") > 3 {
		return errors.New("has more than four numbers")
	}
	for part := range strings.SplitSeq(text, ".") {
		if compareNumbers(part, "65535") > 0 {
			return errors.New("has a number beyond 65535")
		}
	}
	return nil
}

// compareDotted compares number by number; missing ones are 0.
func compareDotted(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a, _ = strings.Cut(a, ".")
		y, b, _ = strings.Cut(b, ".")
		if c := compareNumbers(x, y); c != 0 {
			return c
		}
	}
	return 0
}
