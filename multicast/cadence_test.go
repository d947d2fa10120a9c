package multicast

import (
	"slices"
	"testing"
	"time"
)

// times returns when c is due within a time, in milliseconds, with something
// that happens before each.
func (c *cadence) times(until time.Duration, before func()) []int64 {
	var at []int64
	for {
		before()
		if c.next.Sub(c.start) > until {
			return at
		}
		at = append(at, c.next.Sub(c.start).Milliseconds())
		c.tick(c.next)
	}
}

func TestCadence(t *testing.T) {
	c := newCadence(time.Unix(1000, 0))
	got := c.times(3*time.Second, func() {})
	if want := []int64{0, 20, 100, 300, 1300, 2300}; !slices.Equal(got, want) {
		t.Errorf("announced at %v ms, want %v", got, want)
	}
}

func TestCadenceHurry(t *testing.T) {
	c := newCadence(time.Unix(1000, 0))
	c.times(3*time.Second, func() {})
	c.hurry(c.start.Add(2310 * time.Millisecond))
	if got, want := c.next.Sub(c.start), 2360*time.Millisecond; got != want {
		t.Errorf("after a query at 2310 ms, 10 ms after an announcement, the next one is at %v, want %v", got, want)
	}
	c.tick(c.next)
	c.hurry(c.start.Add(2900 * time.Millisecond))
	if got, want := c.next.Sub(c.start), 2900*time.Millisecond; got != want {
		t.Errorf("after a query at 2900 ms the next one is at %v, want %v", got, want)
	}
}

// TestCadenceBound asks without pause: no second has more than 20
// announcements.
func TestCadenceBound(t *testing.T) {
	c := newCadence(time.Unix(1000, 0))
	at := c.times(10*time.Second, func() { c.hurry(later(c.start, c.last)) })
	for i := range at {
		n := 0
		for n < len(at)-i && at[i+n] < at[i]+1000 {
			n++
		}
		if n > 20 {
			t.Errorf("%d announcements in the second that begins at %d ms, want at most 20", n, at[i])
		}
	}
	if len(at) < 100 {
		t.Errorf("%d announcements in 10 s of queries, want 100 or more", len(at))
	}
}
