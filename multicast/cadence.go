package multicast

import "time"

// hurryGap is the shortest time between an announcement and one that a query
// brings forward. With the early ones that makes 20 in a second at most.
const hurryGap = 60 * time.Millisecond

// A cadence says when to announce, or to query: at the start, soon again in
// case that was lost, and then every second (section 9).
type cadence struct {
	start, last time.Time
	next        time.Time // when it is time again
	count       int       // how often it was
}

// newCadence returns one that starts now.
func newCadence(now time.Time) cadence { return cadence{start: now, next: now} }

// tick says that it has been done.
func (c *cadence) tick(now time.Time) {
	early := [...]time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond}
	c.last, c.next = now, now.Add(time.Second)
	if c.count < len(early) {
		c.next = later(now, c.start.Add(early[c.count]))
	}
	c.count++
}

// hurry brings the next time forward, as far as it may.
func (c *cadence) hurry(now time.Time) {
	if soon := later(now, c.last.Add(hurryGap)); soon.Before(c.next) {
		c.next = soon
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
