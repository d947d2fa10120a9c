package progress

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what a [Meter] measures and where it shows it.
type Options struct {
	// Out is written to by one goroutine, until Done returns. Nil shows
	// nothing.
	Out io.Writer

	// Mode is the form of what is shown.
	Mode Mode

	// Label names the work for people: "capturing".
	Label string

	// Stage names the work for programs: "capture".
	Stage string

	// Total is how many bytes there are to do, zero if nobody knows.
	Total int64

	// Interval is the time between two looks at the work. Zero means what
	// suits the mode: 100 ms on a terminal, 30 s in a log, 1 s for programs.
	Interval time.Duration
}

// A display shows states. It is used by one goroutine.
type display interface {
	show(s state)

	// clear takes away what was drawn; the next show draws it again.
	clear()

	// close ends what show began. err is what the work ended with.
	close(s state, err error)
}

// A Meter counts the bytes that a piece of work has done and shows them.
type Meter struct {
	done    atomic.Int64
	label   atomic.Pointer[string]
	total   int64
	display display    // nil if nothing is shown
	drawing sync.Mutex // held while the display is used
	samples history
	end     sync.Once
	ended   chan struct{}
	running sync.WaitGroup
}

// New starts a meter. It must be ended with Done.
func New(opt Options) *Meter {
	m := &Meter{total: max(opt.Total, 0), ended: make(chan struct{})}
	m.Relabel(opt.Label)
	m.display, opt.Interval = newDisplay(opt)
	if m.display != nil {
		m.samples.add(time.Now(), 0)
		m.running.Go(func() { m.run(opt.Interval) })
	}
	return m
}

// Add counts n bytes as done. It takes nanoseconds, and it is safe for
// concurrent use.
func (m *Meter) Add(n int64) { m.done.Add(n) }

// Relabel gives the work another name for people from now on. It is safe for
// concurrent use.
func (m *Meter) Relabel(label string) { m.label.Store(&label) }

// Aside calls f while the meter writes nothing and its line is gone, so that f
// can write to where the meter does. It is safe for concurrent use; f must not
// call Done.
func (m *Meter) Aside(f func()) {
	m.drawing.Lock()
	defer m.drawing.Unlock()
	if m.display != nil {
		m.display.clear()
	}
	f()
}

// Done ends the meter with the error of the work, nil if it went well. On a
// terminal the bar disappears; what is to be said of the end is the caller's
// to say. When Done returns, nothing more is written. Calls after the first
// have no effect, so that an early return may defer one.
func (m *Meter) Done(err error) {
	m.end.Do(func() {
		close(m.ended)
		m.running.Wait()
		m.drawing.Lock()
		defer m.drawing.Unlock()
		if m.display != nil {
			m.display.close(m.look(), err)
		}
	})
}

// run shows the state of the work every interval until the meter is ended.
func (m *Meter) run(interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-m.ended:
			return
		case <-ticker.C:
			m.draw()
		}
	}
}

func (m *Meter) draw() {
	m.drawing.Lock()
	defer m.drawing.Unlock()
	m.display.show(m.look())
}

// look takes a sample. It is called by one goroutine at a time.
func (m *Meter) look() state {
	done := m.done.Load()
	return state{label: *m.label.Load(), done: done, total: m.total, rate: m.samples.add(time.Now(), done)}
}
