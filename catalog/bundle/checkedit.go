package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// checkLine returns which rule l, which may be nil, breaks.
func (m *Manifest) checkLine(l *Line) error {
	if l == nil {
		return nil
	}
	if err := cmp.Or(
		at("path", checkPath(m.Family, l.Path)),
		at("line", checkOneLine(l.Line, longestLine)),
		at("match", checkPattern(l.Match)),
		at("after", checkPattern(l.After)),
	); err != nil {
		return err
	}
	switch {
	case l.Absent && (l.Match == "" || l.Line != "" || l.After != "" || l.Create):
		return errors.New("absent goes with match, and not with line, after or create")
	case !l.Absent && l.Line == "":
		return at("line", errors.New("is missing"))
	case !l.Absent && l.Match != "" && !regexp.MustCompile(l.Match).MatchString(l.Line):
		return at("match", errors.New("does not match line itself: every run would add another one"))
	}
	return nil
}

// checkIni returns which rule i, which may be nil, breaks.
func (m *Manifest) checkIni(i *Ini) error {
	if i == nil {
		return nil
	}
	if err := cmp.Or(
		at("path", checkPath(m.Family, i.Path)),
		at("section", checkIniWord(i.Section, "[]")),
		at("key", checkIniWord(i.Key, "=:")),
		at("value", checkOneLine(i.Value, longestText)),
	); err != nil {
		return err
	}
	switch {
	case i.Key == "":
		return at("key", errors.New("is missing"))
	case strings.ContainsRune("[;#", rune(i.Key[0])):
		return at("key", fmt.Errorf("%q begins like a section or a comment", i.Key))
	case strings.TrimSpace(i.Value) != i.Value:
		return at("value", fmt.Errorf("%q begins or ends with a blank", i.Value))
	case i.Absent && (i.Value != "" || i.Create):
		return errors.New("absent does not go with value or create")
	}
	return nil
}

// checkIniWord checks the name of a section or a key.
func checkIniWord(text, without string) error {
	if strings.ContainsAny(text, without) || strings.TrimSpace(text) != text {
		return fmt.Errorf("%q has one of %s in it, or begins or ends with a blank", text, without)
	}
	return checkOneLine(text, longestText)
}
