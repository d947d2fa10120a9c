package main

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A warning is shown once in thirty seconds, what is in the status not at all.
func TestNoteLog(t *testing.T) {
	var got []string
	synctest.Test(t, func(*testing.T) {
		log := newNoteLog(func(text string) { got = append(got, text) })
		for range 40 {
			log.Info("session starts")
			log.Warn("link is down", "err", errors.New("eth0\x1b[2J"))
			log.With("session", "room").Error("frame cannot be read", "frame", 3, "err", errors.New("input/output error"))
			log.Warn("receiver lost", "receiver", "pc-01", "err", "silence")
			time.Sleep(time.Second)
		}
	})
	once := []string{"link is down: eth0?[2J", "frame cannot be read: frame 3: input/output error"}
	if want := slices.Concat(once, once); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
