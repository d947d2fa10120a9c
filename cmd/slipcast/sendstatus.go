package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"slipcast/internal/progress"
	"slipcast/multicast"
)

// sessionNumber returns the number of a session as it is shown.
func sessionNumber(n uint64) string { return fmt.Sprintf("%016x", n) }

// statusObject returns the object that tells programs and the status page of a
// session. s is plain.
func statusObject(s multicast.Status) map[string]any {
	list := []map[string]any{}
	for _, r := range s.Receivers {
		list = append(list, map[string]any{
			"id": r.ID, "name": r.Name, "target": r.Target, "address": r.Address.String(), "state": r.State,
			"reason": r.Reason, "done": r.Done, "lacked": r.Lacked, "percent": percent(r), "written_bytes": r.Written,
			"loss": r.Loss, "rate": r.Rate, "full": r.Full,
		})
	}
	o := map[string]any{
		"type": "receivers", "schema": schema, "session": sessionNumber(s.Session), "name": s.Name, "title": s.Title,
		"digest": hex.EncodeToString(s.Digest), "state": s.State, "frames": s.Frames, "lacking": s.Lacking,
		"frame_bytes": s.Bytes, "wire_bytes": s.Wire, "fetched_bytes": s.Fetched, "datagrams": s.Sent,
		"repairs": s.Repairs, "dropped": s.Dropped, "rate": s.Rate, "max_rate": s.Cap, "wait": s.Needed,
		"ready": countStates(s, multicast.Ready), "receivers": list,
	}
	if left, ok := untilStart(s); ok {
		o["start_seconds"] = int64(left.Seconds())
	}
	if left, ok := timeLeft(s); ok {
		o["left_seconds"] = int64(left.Seconds())
	}
	return o
}

// percent returns how much of what a receiver lacked it has by now.
func percent(r multicast.ReceiverStatus) int {
	if r.Lacked > 0 {
		return int(100 * int64(min(r.Done, r.Lacked)) / int64(r.Lacked))
	}
	if r.State == multicast.Joining {
		return 0
	}
	return 100
}

func countStates(s multicast.Status, states ...multicast.State) int {
	n := 0
	for _, r := range s.Receivers {
		for _, state := range states {
			if r.State == state {
				n++
			}
		}
	}
	return n
}

// untilStart returns how long the session waits at most, false if it does not.
func untilStart(s multicast.Status) (time.Duration, bool) {
	if s.State != multicast.Waiting || s.Starting.IsZero() {
		return 0, false
	}
	return max(s.Starting.Sub(s.Now), 0), true
}

// timeLeft returns how long it takes at the present rate to send what is
// lacking, false if that cannot be told.
func timeLeft(s multicast.Status) (time.Duration, bool) {
	if s.State != multicast.Sending || s.Rate <= 0 || s.Frames == 0 {
		return 0, false
	}
	bytes := float64(s.Bytes) / float64(s.Frames) * float64(s.Lacking)
	return time.Duration(bytes * 8 / float64(s.Rate) * float64(time.Second)).Round(time.Second), true
}

// headline says what a session is doing.
func headline(s multicast.Status) string {
	name := s.Title
	if s.State == multicast.Waiting {
		return fmt.Sprintf("%s: waiting for receivers, %s", name, waitingFor(s))
	}
	parts := []string{fmt.Sprintf("%d of %s done", countStates(s, multicast.Done), count(len(s.Receivers), "receiver"))}
	if gone := countStates(s, multicast.Failed, multicast.Lost); gone > 0 {
		parts = append(parts, fmt.Sprintf("%d failed or lost", gone))
	}
	if s.State == multicast.Sending {
		parts = append(parts, bits(s.Rate))
	}
	if left, ok := timeLeft(s); ok {
		parts = append(parts, progress.Duration(left)+" left")
	}
	return fmt.Sprintf("%s: %s: %s", name, s.State, strings.Join(parts, ", "))
}

// waitingFor says who is there before the start, and when that is.
func waitingFor(s multicast.Status) string {
	text := fmt.Sprintf("%d ready", countStates(s, multicast.Ready))
	if s.Needed > 0 {
		text = fmt.Sprintf("%d of %d ready", countStates(s, multicast.Ready), s.Needed)
	}
	if joining := countStates(s, multicast.Joining); joining > 0 {
		text += fmt.Sprintf(", %d getting ready", joining)
	}
	if left, ok := untilStart(s); ok {
		text += ", starts in " + progress.Duration(left) + " at the latest"
	}
	return text
}
