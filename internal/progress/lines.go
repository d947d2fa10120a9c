package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
)

// parts returns what a state says to people, the most important first.
func (s state) parts(percent bool) []string {
	size := Bytes(s.done)
	if s.total > 0 {
		size += " of " + Bytes(s.total)
		if percent {
			size += fmt.Sprintf(" (%d %%)", s.percent())
		}
	}
	parts := []string{size, Bytes(int64(s.rate)) + "/s"}
	if left, ok := s.left(); ok {
		parts = append(parts, Duration(left)+" left")
	}
	return parts
}

// logLines writes a line for each state.
type logLines struct{ out io.Writer }

func (l *logLines) show(s state) {
	_, _ = fmt.Fprintf(l.out, "slipcast: %s: %s\n", s.label, strings.Join(s.parts(true), ", "))
}

func (l *logLines) clear() {}

func (l *logLines) close(state, error) {}

// An event is the object that tells a program of a state. Its form is
// documented in docs/cli.md.
type event struct {
	Type        string `json:"type"`
	Schema      int    `json:"schema"`
	Stage       string `json:"stage"`
	Done        int64  `json:"done"`                   // bytes
	Total       int64  `json:"total,omitempty"`        // bytes, absent if unknown
	Rate        int64  `json:"rate"`                   // bytes a second
	LeftSeconds *int64 `json:"left_seconds,omitempty"` // absent if unknown
}

// events writes an object for each state.
type events struct {
	out   io.Writer
	stage string
}

func (e *events) show(s state) {
	ev := event{
		Type: "progress", Schema: 1, Stage: e.stage,
		Done: s.done, Total: s.total, Rate: int64(math.Round(s.rate)),
	}
	if left, ok := s.left(); ok {
		seconds := int64(left.Seconds())
		ev.LeftSeconds = &seconds
	}
	_ = json.NewEncoder(e.out).Encode(ev)
}

func (e *events) clear() {}

// close tells the last state of work that went well, so that a reader of the
// events sees it complete.
func (e *events) close(s state, err error) {
	if err == nil {
		e.show(s)
	}
}
