package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"slipcast/internal/progress"
	"slipcast/multicast"
)

// newView returns what suits whoever reads stderr.
func (s *sending) newView() sendView {
	switch {
	case s.env.json:
		return &sendEvents{s}
	case s.env.quiet:
		return quietView{}
	case progress.Detect(s.env.stderr) == progress.Terminal:
		return newSendTable(s)
	}
	return &sendLog{sending: s, states: map[string]multicast.State{}}
}

// A quietView shows nothing.
type quietView struct{}

func (quietView) show(multicast.Status) {}
func (quietView) end(multicast.Status)  {}
func (quietView) clear()                {}

// invite tells how machines get what is sent.
func (s *sending) invite(a multicast.Address) {
	s.env.result(s.sessionObject(a), false)
	facts := []fact{
		{"receive", "slipcast receive /dev/sdX --session " + quoted(s.opt.name)},
		{"to check", "--fingerprint " + hex.EncodeToString(a.Fingerprint[:])},
	}
	if s.opt.key != "" {
		facts[1].text += ", or the same --key"
	}
	if s.page != nil {
		facts = append(facts, fact{"status", s.page.url()})
	}
	s.env.sum(fmt.Sprintf("sending %s (%s) on %s, at most %s", s.path, progress.Bytes(s.im.Size()), a.Interface, bits(a.Cap)), facts...)
}

// quoted returns a word as a shell takes it.
func quoted(word string) string {
	harmless := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.", r)
	}
	if strings.IndexFunc(word, func(r rune) bool { return !harmless(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// sessionObject returns the object that tells programs how to receive.
func (s *sending) sessionObject(a multicast.Address) map[string]any {
	o := map[string]any{
		"type": "session", "name": s.opt.name, "session": sessionNumber(a.Session), "image": s.path,
		"digest": s.im.Digest.String(), "image_bytes": s.im.Size(), "control": a.Control.String(),
		"interface": a.Interface, "group": a.Group.String(), "fingerprint": hex.EncodeToString(a.Fingerprint[:]),
		"keyed": s.opt.key != "", "offload": a.Offload, "max_rate": a.Cap,
	}
	if s.page != nil {
		o["status"] = s.page.url()
	}
	return o
}

// A sendLog writes lines: when a receiver comes or its lot changes, and every
// thirty seconds.
type sendLog struct {
	*sending
	states map[string]multicast.State // of receivers by ID
	said   time.Time
}

// logEvery is the time between two lines about the session as a whole.
const logEvery = 30 * time.Second

func (l *sendLog) show(s multicast.Status) {
	l.changes(s)
	if s.Now.Sub(l.said) >= logEvery {
		l.said = s.Now
		l.env.say("%s", headline(s))
	}
}

func (l *sendLog) end(s multicast.Status) { l.changes(s) }

func (l *sendLog) clear() {}

// changes tells what has happened to receivers.
func (l *sendLog) changes(s multicast.Status) {
	for _, r := range s.Receivers {
		before, known := l.states[r.ID]
		l.states[r.ID] = r.State
		if !known {
			l.env.say("%s is there, for %s, from %s", receiverName(r), r.Target, r.Address)
		}
		if before == r.State {
			continue
		}
		switch r.State {
		case multicast.Done, multicast.Failed, multicast.Lost, multicast.Behind, multicast.Fetching:
			l.env.say("%s: %s", receiverName(r), withReason(r))
		}
	}
}

// withReason returns the state of a receiver and why it is in it.
func withReason(r multicast.ReceiverStatus) string {
	if r.Reason == "" {
		return string(r.State)
	}
	return string(r.State) + ": " + r.Reason
}

// A sendEvents writes objects for programs.
type sendEvents struct{ *sending }

func (e *sendEvents) show(s multicast.Status) { e.env.object(e.env.stderr, statusObject(s)) }

func (e *sendEvents) end(s multicast.Status) { e.show(s) }

func (e *sendEvents) clear() {}

// sum tells how the session ended.
func (s *sending) sum(st multicast.Status) {
	if len(st.Receivers) == 0 {
		return // the error says it
	}
	took := time.Since(s.began)
	done := countStates(st, multicast.Done)
	facts := []fact{
		{"wire", fmt.Sprintf("%s, %.3f of the image's %s", progress.Bytes(st.Wire), wireRatio(st.Wire, s.im.Size()), progress.Bytes(s.im.Size()))},
		{"repairs", fmt.Sprintf("%d of %s", st.Repairs, count(int(st.Sent), "datagram"))},
	}
	if st.Fetched > 0 {
		facts = append(facts, fact{"HTTPS", progress.Bytes(st.Fetched)})
	}
	if st.Dropped > 0 {
		facts = append(facts, fact{"forged", count(int(st.Dropped), "datagram") + " that receivers dropped"})
	}
	s.env.sum(fmt.Sprintf("sent %s to %d of %s in %s", s.path, done, count(len(st.Receivers), "receiver"), progress.Duration(took)), facts...)
	o := statusObject(st)
	s.env.result(map[string]any{
		"type": "sent", "image": s.path, "digest": s.im.Digest.String(), "image_bytes": s.im.Size(),
		"name": st.Name, "session": o["session"], "done": done, "receivers": o["receivers"],
		"wire_bytes": st.Wire, "wire_ratio": wireRatio(st.Wire, s.im.Size()), "fetched_bytes": st.Fetched,
		"datagrams": st.Sent, "repairs": st.Repairs, "dropped": st.Dropped, "seconds": took.Seconds(),
	}, false)
}

func wireRatio(a, b int64) float64 { return float64(a) / float64(max(b, 1)) }
