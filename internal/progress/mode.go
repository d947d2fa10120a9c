package progress

import (
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// A Mode is a form in which progress is shown.
type Mode int

// The zero Mode is Auto.
const (
	Auto     Mode = iota // Terminal or Log, as Detect says
	Terminal             // a bar that is drawn in place
	Log                  // a line every 30 s
	JSON                 // an object on a line of its own every second
	Quiet                // nothing
)

// Detect returns Terminal if w is a terminal on which a line can be drawn
// over, else Log.
func Detect(w io.Writer) Mode {
	f, ok := w.(*os.File)
	if ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		return Terminal
	}
	return Log
}

// newDisplay returns the display that opt asks for, nil if there is none, and
// how often it wants to show something.
func newDisplay(opt Options) (display, time.Duration) {
	if opt.Out == nil {
		return nil, 0
	}
	if opt.Mode == Auto {
		opt.Mode = Detect(opt.Out)
	}
	switch opt.Mode {
	case Terminal:
		return newBar(opt), orElse(opt.Interval, 100*time.Millisecond)
	case Log:
		return &logLines{opt.Out}, orElse(opt.Interval, 30*time.Second)
	case JSON:
		return &events{out: opt.Out, stage: opt.Stage}, orElse(opt.Interval, time.Second)
	}
	return nil, 0
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}
