package main

import (
	"context"
	"log/slog"
	"time"

	"slipcast/pxe"
)

// logTrouble logs the counters of the boot server once an hour, if something
// was turned away or lost in that hour: nothing else tells of scanners, of
// machines that ask too fast, and of addresses that are taken. It returns nil
// when ctx ends.
func logTrouble(ctx context.Context, log *slog.Logger, stats func() pxe.Stats) error {
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	told := trouble(stats())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hour.C:
		}
		now := stats()
		if n := trouble(now); n > told {
			log.Info("network boot turned something away", statAttrs(now)...)
			told = n
		}
	}
}

// trouble returns how much was turned away or lost.
func trouble(s pxe.Stats) int64 {
	return s.Malformed + s.Dropped + s.Unsent + s.Declined + s.Refused +
		s.TFTP.Failed + s.TFTP.Refused + s.TFTP.Malformed + s.TFTP.Strangers
}

// statAttrs returns the counters as attributes of a line of the log.
func statAttrs(s pxe.Stats) []any {
	t := s.TFTP
	return []any{
		slog.Group("dhcp", "requests", s.Requests, "answers", s.Answers, "ignored", s.Ignored, "malformed", s.Malformed,
			"dropped", s.Dropped, "unsent", s.Unsent, "declined", s.Declined),
		slog.Group("http", "requests", s.HTTP, "scripts", s.Scripts, "archives", s.Offers, "refused", s.Refused),
		slog.Group("tftp", "transfers", t.Started, "done", t.Done, "failed", t.Failed, "probes", t.Probes, "missing", t.Missing,
			"refused", t.Refused, "malformed", t.Malformed, "strangers", t.Strangers, "bytes", t.Bytes),
	}
}
