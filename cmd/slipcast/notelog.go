package main

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// A noteLog shows people the warnings of a package that no returned error and
// no status tells. It implements slog.Handler.
type noteLog struct {
	note func(text string) // must not block

	mu   sync.Mutex
	said map[string]time.Time // when, by message: these are constant phrases
}

// newNoteLog returns a logger that calls note, from several goroutines, but
// with each message only every thirty seconds.
func newNoteLog(note func(text string)) *slog.Logger {
	return slog.New(&noteLog{note: note, said: map[string]time.Time{}})
}

// Enabled implements slog.Handler.
func (*noteLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements slog.Handler. What happens to a receiver is in the status.
func (l *noteLog) Handle(_ context.Context, r slog.Record) error {
	words := []string{r.Message}
	status := false
	r.Attrs(func(a slog.Attr) bool {
		status = status || a.Key == "receiver"
		text := a.Value.String()
		if a.Key != "err" {
			text = a.Key + " " + text
		}
		words = append(words, text)
		return true
	})
	if !status && l.due(r.Message) {
		l.note(plain(strings.Join(words, ": "), longestReason))
	}
	return nil
}

// due tells whether a message is to be shown, and notes that it is.
func (l *noteLog) due(message string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if last, ok := l.said[message]; ok && now.Sub(last) < logEvery {
		return false
	}
	l.said[message] = now
	return true
}

// WithAttrs implements slog.Handler. What all records have in common is not
// shown.
func (l *noteLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// WithGroup implements slog.Handler.
func (l *noteLog) WithGroup(string) slog.Handler { return l }
