package probe

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"slipcast/catalog/bundle"
)

// MaxEdit is how many bytes a file that is edited may have.
const MaxEdit = 4 << 20

// ErrEdit is wrapped by every error about an edit that cannot be made.
var ErrEdit = errors.New("cannot be edited")

// bom is the byte order mark that Windows puts before UTF-8.
const bom = "\xef\xbb\xbf"

// EditLine returns the contents p of a file with the edit e made in it. Doing
// it twice is doing it once, and what is as wanted is returned as it is. A file
// that is not there has no contents. p is not changed, and may be returned.
//
// The last line that matches, or that is the line already, is replaced. New
// lines end as the first line of the file does. Errors wrap [ErrEdit].
func EditLine(p []byte, e bundle.Line) ([]byte, error) {
	if err := checkLine(e); err != nil {
		return nil, err
	}
	t, err := splitText(p)
	if err != nil {
		return nil, err
	}
	match, err := pattern(e.Match)
	if err != nil {
		return nil, err
	}
	after, err := pattern(e.After)
	if err != nil {
		return nil, err
	}
	if e.Absent {
		t.delete(match)
		return t.bytes(), nil
	}
	if i := t.last(func(line string) bool { return line == e.Line || match(line) }); i >= 0 {
		t.replace(i, e.Line)
		return t.bytes(), nil
	}
	i := t.last(after)
	if i < 0 {
		i = len(t.lines) - 1
	}
	t.insert(i+1, e.Line)
	return t.bytes(), nil
}

// checkLine refuses what would be read back as something else.
func checkLine(e bundle.Line) error {
	if strings.ContainsAny(e.Line, "\r\n\ufeff") || !utf8.ValidString(e.Line) {
		return fmt.Errorf("%w: %.100q is not one line of text", ErrEdit, e.Line)
	}
	if e.Absent && (e.Match == "" || e.Line != "") {
		return fmt.Errorf("%w: lines to take away are those that match, not %.100q", ErrEdit, e.Line)
	}
	return nil
}

// pattern compiles a regular expression; an empty one matches nothing.
func pattern(s string) (func(line string) bool, error) {
	if s == "" {
		return func(string) bool { return false }, nil
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEdit, err)
	}
	return re.MatchString, nil
}

// A text is a file of lines.
type text struct {
	mark  string   // bom, or nothing
	lines []string // each with its end, except maybe the last
	end   string   // of new lines
}

// splitText divides a file into its lines.
func splitText(p []byte) (*text, error) {
	if len(p) > MaxEdit {
		return nil, fmt.Errorf("%w: a file of %d bytes, at most %d", ErrEdit, len(p), MaxEdit)
	}
	if bytes.HasPrefix(p, []byte{0xff, 0xfe}) || bytes.HasPrefix(p, []byte{0xfe, 0xff}) {
		return nil, fmt.Errorf("%w: a file in UTF-16", ErrEdit)
	}
	t := &text{end: "\n"}
	s := string(p)
	if strings.HasPrefix(s, bom) {
		t.mark, s = bom, s[len(bom):]
	}
	t.lines = slices.Collect(strings.Lines(s))
	if len(t.lines) > 0 && strings.HasSuffix(t.lines[0], "\r\n") {
		t.end = "\r\n"
	}
	return t, nil
}

// bytes returns the file.
func (t *text) bytes() []byte { return []byte(t.mark + strings.Join(t.lines, "")) }

// body returns a line without its end.
func body(line string) string {
	line = strings.TrimSuffix(line, "\n")
	return strings.TrimSuffix(line, "\r")
}

// last returns the number of the last line that is wanted, or -1.
func (t *text) last(wanted func(line string) bool) int {
	for i, line := range slices.Backward(t.lines) {
		if wanted(body(line)) {
			return i
		}
	}
	return -1
}

// delete takes lines away.
func (t *text) delete(unwanted func(line string) bool) {
	t.lines = slices.DeleteFunc(t.lines, func(line string) bool { return unwanted(body(line)) })
}

// replace changes line i and leaves its end. Only an empty line needs one to be
// a line.
func (t *text) replace(i int, line string) {
	end := t.lines[i][len(body(t.lines[i])):]
	if line == "" && end == "" {
		end = t.end
	}
	t.lines[i] = line + end
}

// insert puts a line before line i. If it becomes the last line, the one before
// it gets an end.
func (t *text) insert(i int, line string) {
	if i > 0 && !strings.HasSuffix(t.lines[i-1], "\n") {
		t.lines[i-1] = body(t.lines[i-1]) + t.end
	}
	t.lines = slices.Insert(t.lines, i, line+t.end)
}
