package agent

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"slipcast/agent/wire"
)

// Times of a screen.
const (
	drawEvery     = 500 * time.Millisecond // on a screen
	progressEvery = 10 * time.Second       // on a serial line
)

// What a screen remembers of the log.
const (
	maxLines = 200
	maxLine  = 1024 // bytes of a line
)

// A console is what somebody may look at.
type console struct {
	name  string
	out   io.Writer
	vt    bool              // a screen that is drawn anew, rather than a line that is written to
	size  func() (int, int) // columns and rows, of a screen
	lines chan string       // to be written, on a serial line
}

// A screen shows what the agent does on all consoles. On a screen everything is
// drawn anew when it has changed, at most twice a second; on a serial line it
// becomes lines, one for each change and one each ten seconds for progress. No
// console holds up the agent: what a serial line does not take is lost there.
// Its methods are safe for concurrent use.
type screen struct {
	consoles []*console
	log      func(text string) // hears of every line that is said; nil: nobody

	mu      sync.Mutex
	view    view
	dirty   bool
	held    bool      // the console belongs to somebody else
	marked  string    // progress that was written to serial lines
	writing time.Time // of that
}

func newScreen(version string, consoles ...*console) *screen {
	s := &screen{consoles: consoles, view: view{Version: version}, dirty: true}
	for _, c := range consoles {
		c.lines = make(chan string, 256)
	}
	return s
}

// run draws until stop is closed, and once more.
func (s *screen) run(stop <-chan struct{}) {
	var all sync.WaitGroup
	for _, c := range s.consoles {
		if c.vt {
			all.Go(func() { s.drawScreen(c, stop) })
		} else {
			all.Go(func() { s.writeLines(c, stop) })
		}
	}
	all.Wait()
}

// say shows a line on every console, and tells it to whom it concerns.
func (s *screen) say(format string, args ...any) {
	text := wire.Plain(fmt.Sprintf(format, args...), maxLine)
	s.mu.Lock()
	s.view.Lines = append(s.view.Lines, text)
	if len(s.view.Lines) > maxLines {
		s.view.Lines = s.view.Lines[1:]
	}
	s.dirty = true
	log := s.log
	s.mu.Unlock()
	if log != nil {
		log(text)
	}
	s.write("slipcast agent: " + text)
}

// remind says a line that is not news: not if nothing was said since it was.
func (s *screen) remind(text string) {
	said := s.last()
	if n := len(said); n == 0 || said[n-1] != wire.Plain(text, maxLine) {
		s.say("%s", text)
	}
}

// tee makes every line that is said go to log, too; nil ends that.
func (s *screen) tee(log func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = log
}

// show changes what is shown.
func (s *screen) show(change func(*view)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.view)
	s.dirty = true
}

// last returns the last lines that were said.
func (s *screen) last() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.view.Lines...)
}

// hold leaves the consoles to somebody else, or takes them back.
func (s *screen) hold(held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.dirty = held, true
}

// write queues a line for the serial lines.
func (s *screen) write(line string) {
	for _, c := range s.consoles {
		if c.vt {
			continue
		}
		select {
		case c.lines <- line:
		default: // it does not take anything now
		}
	}
}

// writeLines writes to a serial line, until stop is closed and all is written.
func (s *screen) writeLines(c *console, stop <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case line := <-c.lines:
			fmt.Fprintf(c.out, "%s\r\n", line)
			continue
		default:
		}
		select {
		case line := <-c.lines:
			fmt.Fprintf(c.out, "%s\r\n", line)
		case <-tick.C:
			s.tellProgress()
		case <-stop:
			return
		}
	}
}

// tellProgress writes progress to the serial lines if it is time to.
func (s *screen) tellProgress() {
	s.mu.Lock()
	line := ""
	if v := &s.view; v.Job != "" && v.Done > 0 && !s.held && time.Since(s.writing) >= progressEvery {
		line = fmt.Sprintf("slipcast agent: job %s %s: %s", v.Job, v.Step, v.progress())
	}
	if line == s.marked {
		line = ""
	}
	if line != "" {
		s.marked, s.writing = line, time.Now()
	}
	s.mu.Unlock()
	if line != "" {
		s.write(line)
	}
}

// drawScreen draws on a screen when something has changed, until stop is
// closed.
func (s *screen) drawScreen(c *console, stop <-chan struct{}) {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	drawn := ""
	for {
		if text := s.picture(c); text != "" && text != drawn {
			io.WriteString(c.out, text) // what a screen does not take, nobody can be told
			drawn = text
		}
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

// picture returns what draws the screen: the cursor goes home and is hidden,
// each line is cleared behind its end, and the rest of the screen as well. It
// is empty while the console is held.
func (s *screen) picture(c *console) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return ""
	}
	columns, rows := c.size()
	return "\x1b[?25l\x1b[H" + strings.Join(s.view.draw(columns, rows), "\x1b[K\r\n") + "\x1b[K\x1b[J"
}
