package sandbox

import (
	"bytes"
	"sync"
)

// Bounds of what is kept of a program's output, in bytes.
const (
	maxTail = 64 << 10
	maxLine = 4 << 10
)

// An output takes what a program says. It hands on lines, and keeps the end.
type output struct {
	line func(string)

	mu   sync.Mutex
	kept []byte // less than twice maxTail
	open []byte // the line that has not ended yet
}

// Write implements [io.Writer]. A line that is too long is handed on in pieces.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(p)
	o.keep(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		end := i >= 0
		if !end {
			i = len(p)
		}
		piece := p[:min(i, maxLine-len(o.open))]
		o.open = append(o.open, piece...)
		p = p[len(piece):]
		if end && len(piece) == i {
			p = p[1:]
			o.say()
		} else if len(o.open) == maxLine {
			o.say()
		}
	}
	return n, nil
}

// keep adds p to the end that is kept.
func (o *output) keep(p []byte) {
	o.kept = append(o.kept, p[max(0, len(p)-maxTail):]...)
	if len(o.kept) >= 2*maxTail {
		o.kept = append(o.kept[:0], o.kept[len(o.kept)-maxTail:]...)
	}
}

// say hands on the line that has ended.
func (o *output) say() {
	if o.line != nil {
		o.line(string(bytes.TrimSuffix(o.open, []byte{'\r'})))
	}
	o.open = o.open[:0]
}

// end hands on a last line without an end.
func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.open) > 0 {
		o.say()
	}
}

// tail returns the end of the output.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.kept[max(0, len(o.kept)-maxTail):])
}
