package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"slipcast/multicast"
)

// A sending is one session of the sender.
type sending struct {
	env    *env
	path   string
	opt    sendOptions
	im     *imageFile
	began  time.Time
	sender *multicast.Sender
	page   *statusPage // nil without --status
	view   sendView
	up     chan multicast.Address // one, when receivers can connect
	notes  chan string            // that wait to be shown; what finds no room is left out
}

// A sendView shows a session. It is used by one goroutine.
type sendView interface {
	show(s multicast.Status) // every second
	end(s multicast.Status)
	clear() // makes room for a line
}

func (s *sending) newSender(source multicast.Source) *multicast.Sender {
	host, _ := os.Hostname() // it is for people only
	o := s.opt
	return &multicast.Sender{
		Source: source, Name: o.name, Title: shorten(plain(filepath.Base(s.path), longestName), longestSession),
		Digest: s.im.Digest[:], Host: host,
		Key: o.key, Interface: o.iface, IPv6: o.ipv6, Listen: o.listen, Hops: o.hops,
		Rate: int64(o.rate), MinRate: int64(o.minRate),
		Wait: o.wait, StartAfter: given(o.startAfter), Settle: given(o.settle), Linger: o.linger,
		Straggler: multicast.Straggler(o.straggler),
		Up:        func(a multicast.Address) { s.up <- a },
		Log:       newNoteLog(s.note),
	}
}

// given returns d as a field takes it for which 0 means the default.
func given(d time.Duration) time.Duration { return max(d, 1) }

// shorten cuts text to at most so many bytes, between two characters.
func shorten(text string, bytes int) string {
	for len(text) > bytes {
		_, last := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-last]
	}
	return text
}

// status returns what the session is doing, fit to be shown.
func (s *sending) status() multicast.Status {
	st := plainStatus(s.sender.Status())
	if st.State == "" { // it is not there yet
		st.State, st.Name, st.Title, st.Digest = multicast.Waiting, s.sender.Name, s.sender.Title, s.sender.Digest
	}
	return st
}

// run serves the session and shows it.
func (s *sending) run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	kctx, cancel := context.WithCancel(gctx)
	ended := make(chan struct{})
	g.Go(func() error {
		defer cancel()
		defer close(ended)
		return s.sender.Serve(gctx)
	})
	g.Go(func() error { s.watch(ended); return nil })
	if s.page != nil {
		g.Go(func() error { s.servePage(ended); return nil })
	}
	if t, ok := s.view.(*sendTable); ok && t.keys != nil {
		g.Go(func() error { t.readKeys(kctx); return nil })
	}
	err := g.Wait()
	s.sum(s.status())
	return explainSent(err)
}

// servePage serves the status page. The session goes on without it.
func (s *sending) servePage(ended <-chan struct{}) {
	if err := s.page.serve(ended); err != nil {
		s.note(err.Error())
	}
}

// watch shows the session until it has ended.
func (s *sending) watch(ended <-chan struct{}) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case a := <-s.up:
			s.view.clear()
			s.invite(a)
		case text := <-s.notes:
			s.view.clear()
			s.env.note(s.path, text)
		case <-tick.C:
			s.view.show(s.status())
		case <-ended:
			s.view.end(s.status())
			return
		}
	}
}

// note has text shown, soon.
func (s *sending) note(text string) {
	select {
	case s.notes <- text:
	default:
	}
}

// explainSent adds to the error of a session who failed, and why.
func explainSent(err error) error {
	part := new(multicast.IncompleteError)
	if !errors.As(err, &part) {
		return err
	}
	var list []string
	for _, r := range plainStatus(multicast.Status{Receivers: part.Failed}).Receivers {
		list = append(list, fmt.Sprintf("%s (%s)", receiverName(r), cmp.Or(r.Reason, string(r.State))))
	}
	return &partError{fmt.Errorf("%w: %s", err, strings.Join(list, ", "))}
}

// receiverName names a receiver for people.
func receiverName(r multicast.ReceiverStatus) string { return cmp.Or(r.Name, r.ID, r.Address.String()) }
