package progress

import (
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

const (
	// patience is how long work may last without a bar, so that nothing
	// flashes up for what is over at once.
	patience = 500 * time.Millisecond

	barWidth = 30 // columns; a narrow terminal has fewer

	// frame is the columns of a line besides the bar and its text: the
	// percentage, the bar's ends and the blanks between.
	frame = 11

	// minBar is the width that is left to the bar when text is dropped for
	// want of columns.
	minBar = 5
)

// A bar draws a line over and over in the same place. It uses no colours, so
// NO_COLOR asks for nothing that it does not do.
type bar struct {
	out   io.Writer
	start time.Time
	line  *progressbar.ProgressBar
	shown bool
}

func newBar(opt Options) *bar {
	b := &bar{out: opt.Out, start: time.Now()}
	total := opt.Total
	if total <= 0 {
		total = -1 // no bar but a spinner
	}
	b.line = progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(opt.Out),
		progressbar.OptionSetTheme(theme()),
		progressbar.OptionSetWidth(barWidth),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionUseANSICodes(true),
		progressbar.OptionSetPredictTime(false), // state.left does not jump
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetSpinnerChangeInterval(0), // starts no goroutine
	)
	return b
}

// show draws s. A bar that is full would end, and the flush that follows the
// last byte takes its time, so the bar stops just short of that.
func (b *bar) show(s state) {
	columns := b.columns()
	if time.Since(b.start) < patience || columns < frame+minBar {
		return
	}
	at := s.done
	if s.total > 0 {
		at = min(at, s.total-1)
	}
	_ = b.line.Set64(at)
	b.line.Describe(fit(s.label, s.parts(false), columns-frame-minBar))
	b.shown = true
}

func (b *bar) clear() {
	if b.shown {
		_ = b.line.Clear()
		b.shown = false
	}
}

func (b *bar) close(state, error) { b.clear() }

// columns returns the width of the terminal; 80 if it does not tell, as many a
// serial console.
func (b *bar) columns() int {
	if f, ok := b.out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// fit joins label and as many of parts as columns allow; in want of columns
// it leaves out the last parts, then the label, then everything.
func fit(label string, parts []string, columns int) string {
	for n := len(parts); n > 0; n-- {
		if text := label + " " + strings.Join(parts[:n], ", "); len(text) <= columns {
			return text
		}
	}
	if len(parts[0]) <= columns {
		return parts[0]
	}
	return ""
}

// theme returns what the bar is made of: blocks where the locale is UTF-8.
func theme() progressbar.Theme {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		locale := strings.ToLower(os.Getenv(name))
		if strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8") {
			return progressbar.ThemeDefault
		}
		if locale != "" {
			break
		}
	}
	return progressbar.ThemeASCII
}
