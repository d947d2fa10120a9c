package probe

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"slipcast/catalog/bundle"
)

// EditIni returns the contents p of a file with the edit e made in it. Doing it
// twice is doing it once, and what is as wanted is returned as it is. A file
// that is not there has no contents. p is not changed, and may be returned.
//
// Afterwards the key stands once in all sections of that name, in its last
// place if it had several, or never if e.Absent. Errors wrap [ErrEdit].
func EditIni(p []byte, e bundle.Ini) ([]byte, error) {
	if err := checkIni(e); err != nil {
		return nil, err
	}
	t, err := splitText(p)
	if err != nil {
		return nil, err
	}
	places := t.find(e.Section, e.Key)
	if e.Absent {
		t.cut(places)
		return t.bytes(), nil
	}
	if len(places) == 0 {
		t.addKey(e)
		return t.bytes(), nil
	}
	last := places[len(places)-1]
	if _, value, _ := setting(t.lines[last]); value != e.Value {
		t.replace(last, withValue(body(t.lines[last]), e.Value))
	}
	t.cut(places[:len(places)-1])
	return t.bytes(), nil
}

// checkIni refuses what would be read back as something else.
func checkIni(e bundle.Ini) error {
	section, isSection := header("[" + e.Section + "]")
	if e.Section != "" && (!isSection || section != e.Section || strings.ContainsAny(e.Section, "\r\n]\ufeff")) {
		return fmt.Errorf("%w: a section %.100q", ErrEdit, e.Section)
	}
	line := e.Key + "=" + e.Value
	key, value, ok := setting(line)
	if !ok || key != e.Key || value != e.Value || strings.ContainsAny(line, "\r\n\ufeff") || !utf8.ValidString(e.Section+line) {
		return fmt.Errorf("%w: a setting %.100q", ErrEdit, line)
	}
	if e.Absent && e.Value != "" {
		return fmt.Errorf("%w: a key %.100q that is to have a value and to be absent", ErrEdit, e.Key)
	}
	return nil
}

// iniValue returns the value of a key: the last, if there are several.
func iniValue(p []byte, section, key string) (string, error) {
	t, err := splitText(p)
	if err != nil {
		return "", err
	}
	places := t.find(section, key)
	if len(places) == 0 {
		return "", nil
	}
	_, value, _ := setting(t.lines[places[len(places)-1]])
	return value, nil
}

// header reads a line that begins a section.
func header(line string) (section string, ok bool) {
	line = blank(line)
	if !strings.HasPrefix(line, "[") || !strings.HasSuffix(line, "]") || len(line) < 2 {
		return "", false
	}
	return blank(line[1 : len(line)-1]), true
}

// setting reads a line with a key and a value. Comments begin with # or ;.
func setting(line string) (key, value string, ok bool) {
	key, value, ok = strings.Cut(line, "=")
	key = blank(key)
	if _, section := header(line); section || !ok || key == "" || key[0] == '#' || key[0] == ';' {
		return "", "", false
	}
	return key, blank(value), true
}

// blank takes blanks and line ends from both sides.
func blank(s string) string { return strings.Trim(s, " \t\r\n") }

// withValue changes the value in a line and leaves what stands before it.
func withValue(line, value string) string {
	before, after, _ := strings.Cut(line, "=")
	spaces := after[:len(after)-len(strings.TrimLeft(after, " \t"))]
	return before + "=" + spaces + value
}

// find returns the numbers of the lines that set a key, in their order.
func (t *text) find(section, key string) []int {
	var places []int
	current := ""
	for i, line := range t.lines {
		if name, ok := header(line); ok {
			current = name
			continue
		}
		if k, _, ok := setting(line); ok && current == section && k == key {
			places = append(places, i)
		}
	}
	return places
}

// cut takes lines away, by their numbers.
func (t *text) cut(places []int) {
	for _, i := range slices.Backward(places) {
		t.lines = slices.Delete(t.lines, i, i+1)
	}
}

// addKey puts a new setting at the end of the last section of that name, or in
// a new section at the end of the file.
func (t *text) addKey(e bundle.Ini) {
	i, ok := t.sectionEnd(e.Section)
	if !ok {
		i = len(t.lines)
		if i > 0 {
			t.insert(i, "")
			i++
		}
		t.insert(i, "["+e.Section+"]")
		i++
	}
	t.insert(i, e.Key+"="+e.Value)
}

// sectionEnd returns where a section takes a further line: behind its last one
// that is not blank. What stands before the first section is always there.
func (t *text) sectionEnd(section string) (end int, ok bool) {
	current, ok := "", section == ""
	for i, line := range t.lines {
		if name, isHeader := header(line); isHeader {
			current = name
			ok = ok || name == section
		}
		if current == section && blank(line) != "" {
			end = i + 1
		}
	}
	return end, ok
}
