package version

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
)

// A deb is a Debian version, [epoch:]upstream[-revision]: deb-version(7).
type deb struct {
	epoch              int
	upstream, revision string
}

// splitDeb divides a version at its first colon and its last hyphen. It is
// dpkg's parseversion, except that an epoch has digits alone: dpkg takes a sign
// before it.
func splitDeb(s string) (deb, error) {
	var v deb
	if epoch, rest, found := strings.Cut(s, ":"); found {
		n, err := strconv.ParseUint(epoch, 10, 31)
		if err != nil {
			return v, errors.New("the epoch is no number from 0 to 2147483647")
		}
		v.epoch, s = int(n), rest
	}
	v.upstream = s
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		v.upstream, v.revision = s[:i], s[i+1:]
		if v.revision == "" {
			return v, errors.New("nothing after the last hyphen")
		}
	}
	if v.upstream == "" || !isDigit(v.upstream[0]) {
		return v, errors.New("does not start with a digit")
	}
	if !only(v.upstream, ".+-~:") || !only(v.revision, ".+~") {
		return v, errors.New("has a character that none may have")
	}
	return v, nil
}

func checkDeb(text string) error {
	_, err := splitDeb(text)
	return err
}

// compareDeb is dpkg_version_compare.
func compareDeb(a, b string) int {
	v, _ := splitDeb(a) // both were checked
	w, _ := splitDeb(b)
	return cmp.Or(
		cmp.Compare(v.epoch, w.epoch),
		compareDebPart(v.upstream, w.upstream),
		compareDebPart(v.revision, w.revision),
	)
}

// compareDebPart compares two upstream versions or two revisions: in turns what
// stands before the next digit, by character, and the digits, by their number.
func compareDebPart(a, b string) int {
	for a != "" || b != "" {
		var textA, textB, numberA, numberB string
		textA, a = cutAt(a, isDigit)
		textB, b = cutAt(b, isDigit)
		numberA, a = cutAt(a, notDigit)
		numberB, b = cutAt(b, notDigit)
		if c := cmp.Or(compareDebText(textA, textB), compareNumbers(numberA, numberB)); c != 0 {
			return c
		}
	}
	return 0
}

// compareDebText compares character by character; what is missing at the end
// counts as weight 0.
func compareDebText(a, b string) int {
	for i := range max(len(a), len(b)) {
		if c := cmp.Compare(debWeight(a, i), debWeight(b, i)); c != 0 {
			return c
		}
	}
	return 0
}

// debWeight orders characters: a tilde before the end of the text, that before
// letters, and these before everything else.
func debWeight(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case isLetter(s[i]):
		return int(s[i])
	default:
		return int(s[i]) + 256
	}
}
