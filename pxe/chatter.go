package pxe

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// What the network makes us log: so many lines at once, and then one each so
// often.
const (
	chatterLines = 20
	chatterEvery = time.Second
)

// maxOnce bounds what is remembered as said.
const maxOnce = 64

// A chatter bounds the lines that anyone on the network can cause. The next
// line tells how many were left out.
type chatter struct {
	mu    sync.Mutex
	spent int       // lines, at last
	last  time.Time // when a line was logged
	left  int       // lines that were left out since
	said  map[string]bool
}

// allow returns whether a line may be logged, and how many were not.
func (c *chatter) allow() (left int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if gone := now.Sub(c.last) / chatterEvery; gone > 0 {
		c.spent = max(0, c.spent-int(min(gone, chatterLines)))
		c.last = now
	}
	if c.spent >= chatterLines {
		c.left++
		return 0, false
	}
	c.spent++
	left, c.left = c.left, 0
	return left, true
}

// first returns whether what is said for the first time.
func (c *chatter) first(what string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.said[what] || len(c.said) >= maxOnce {
		return false
	}
	if c.said == nil {
		c.said = make(map[string]bool)
	}
	c.said[what] = true
	return true
}

// say logs a line about what came from the network.
func (s *Server) say(level slog.Level, msg string, args ...any) {
	left, ok := s.chatter.allow()
	if !ok {
		return
	}
	if left > 0 {
		args = append(args, "suppressed", left)
	}
	s.log().Log(context.Background(), level, msg, args...)
}
