package debian

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

const (
	maxLine   = 1 << 20 // longest line of a control file; Debian's longest has some 100 KB
	maxStanza = 8 << 20 // most bytes of the values that one stanza keeps
)

// A stanza is one paragraph of a control file: values by the lower-case names
// of their fields. The lines of a value are joined by line feeds, without the
// blanks around them.
type stanza map[string]string

// stanzas reads the paragraphs of a control file, see deb822(5), and keeps
// those fields that are named, in lower case. It ends after the first error,
// which wraps [ErrMalformed] or is that of r.
func stanzas(r io.Reader, keep ...string) iter.Seq2[stanza, error] {
	return func(yield func(stanza, error) bool) {
		p := &stanzaParser{keep: keep, fields: stanza{}}
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 0, 64<<10), maxLine)
		for lines.Scan() {
			line := lines.Bytes()
			if len(bytes.TrimSpace(line)) == 0 {
				if p.begun && !yield(p.end(), nil) {
					return
				}
				continue
			}
			if err := p.add(line); err != nil {
				yield(nil, err)
				return
			}
		}
		switch err := lines.Err(); {
		case err == bufio.ErrTooLong:
			yield(nil, fmt.Errorf("%w: a line of more than %d bytes", ErrMalformed, maxLine))
		case err != nil:
			yield(nil, err)
		case p.begun:
			yield(p.end(), nil)
		}
	}
}

// A stanzaParser collects the lines of one paragraph after another.
type stanzaParser struct {
	keep   []string
	fields stanza
	begun  bool            // a field has been seen since the last end
	name   string          // the field that continues, "" if it is not kept
	text   strings.Builder // its value as far as it has been read
	size   int             // bytes of all values of the paragraph
}

// end returns the paragraph and begins the next one.
func (p *stanzaParser) end() stanza {
	p.endField()
	done := p.fields
	p.fields, p.begun, p.size = make(stanza, len(p.keep)), false, 0
	return done
}

// endField puts the field that continues into the paragraph.
func (p *stanzaParser) endField() {
	if p.name != "" {
		p.fields[p.name] = p.text.String()
	}
	p.name = ""
	p.text.Reset()
}

// add takes one line that is not blank.
func (p *stanzaParser) add(line []byte) error {
	if line[0] == ' ' || line[0] == '\t' {
		if !p.begun {
			return fmt.Errorf("%w: a paragraph begins in the middle of a field", ErrMalformed)
		}
		return p.value(line)
	}
	name, value, found := bytes.Cut(line, []byte(":"))
	if !found || len(name) == 0 || bytes.ContainsAny(name, " \t") {
		return fmt.Errorf("%w: no field in line %.60q", ErrMalformed, line)
	}
	p.begun = true
	p.endField()
	i := slices.IndexFunc(p.keep, func(keep string) bool { return strings.EqualFold(keep, string(name)) })
	if i < 0 {
		return nil
	}
	if _, again := p.fields[p.keep[i]]; again {
		return fmt.Errorf("%w: field %q stands twice in one paragraph", ErrMalformed, p.keep[i])
	}
	p.name = p.keep[i]
	return p.value(value)
}

// value adds a line to the field that continues.
func (p *stanzaParser) value(line []byte) error {
	if p.name == "" {
		return nil
	}
	line = bytes.TrimSpace(line)
	if p.size += len(line) + 1; p.size > maxStanza {
		return fmt.Errorf("%w: a paragraph of more than %d bytes", ErrMalformed, maxStanza)
	}
	if p.text.Len() > 0 {
		p.text.WriteByte('\n')
	}
	p.text.Write(line)
	return nil
}
