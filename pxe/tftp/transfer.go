package tftp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// A link is the way between the server's port of one transfer and its client.
// One goroutine uses it and closes it; end may be called by any other one.
type link interface {
	// send sends datagrams of size bytes each to the client, of which the
	// last may be shorter. That it returns nil does not say that they arrive.
	send(train []byte, size int) error
	// receive waits so long for a datagram, and then returns
	// [os.ErrDeadlineExceeded].
	receive(p []byte, wait time.Duration) (n int, from netip.AddrPort, err error)
	// reply sends a datagram to somebody else.
	reply(p []byte, to netip.AddrPort) error
	// end makes receive return [net.ErrClosed], now and from now on.
	end()
	close() error
}

// What ends a transfer.
var (
	errSilent = errors.New("the client does not answer")
	errLate   = errors.New("the transfer takes too long")
	// errProbe is no failure: a client wanted to know the size of a file, and
	// declines the answer to its options with an error.
	errProbe = errors.New("the client asked for the options alone")
)

// maxStrangers is how many datagrams of strangers a transfer answers.
const maxStrangers = 8

// A transfer sends one file to one client. It is for one goroutine.
type transfer struct {
	link   link
	client netip.AddrPort
	terms  terms
	win    *window
	pace   pace
	end    time.Time // when it is given up
	stats  *counters

	heard     *atomic.Bool // the client has acknowledged something
	acked     int64        // the last block that the client has; -1 is not even the options
	out       int          // blocks behind acked that were sent; 0 before the first
	doubtful  bool         // the window before was sent again, see await
	resent    int          // windows that were sent again
	strangers int
	in        [maxRequest]byte
	sendErr   error // the last one
}

func newTransfer(l link, client netip.AddrPort, f File, t terms, end time.Time, v *visit) *transfer {
	tr := &transfer{link: l, client: client, terms: t, end: end, stats: &v.stats, heard: &v.heard,
		win: newWindow(f, t.block, t.window), pace: pace{fixed: t.timeout}}
	if len(t.accept) > 0 {
		tr.acked = -1
	}
	return tr
}

// run sends the file. It returns nil when the client has acknowledged the last
// block.
func (t *transfer) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, t.link.end)
	defer stop()
	for t.acked < t.win.last {
		if err := t.advance(); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
	}
	return nil
}

// advance sends what comes next, again if need be, until the client has
// acknowledged some of it. It sends at most maxSends times.
func (t *transfer) advance() error {
	began := time.Now()
	limit := began.Add(idleLimit)
	if t.end.Before(limit) {
		limit = t.end
	}
	var sent time.Time
	for sends := 0; ; sends++ {
		if sends == maxSends || sends == maxBlindSends && !t.heard.Load() {
			return t.silent(sends)
		}
		if sends == 0 {
			sent = began
		} else {
			sent = time.Now()
			t.resent++
		}
		if err := t.transmit(); err != nil {
			return err
		}
		wait := min(t.pace.wait(sends), limit.Sub(sent))
		what, err := t.await(sent, wait, sends == 0 && !t.doubtful)
		if err != nil {
			return err
		}
		if what == progress {
			if sends == 0 {
				t.pace.measured(time.Since(sent))
			}
			t.doubtful = sends > 0
			return nil
		}
		if now := time.Now(); !now.Before(t.end) {
			return errLate
		} else if !now.Before(limit) {
			return t.silent(sends + 1)
		}
	}
}

func (t *transfer) silent(sends int) error {
	err := errSilent
	if t.sendErr != nil {
		err = fmt.Errorf("%w: %w", errSilent, t.sendErr)
	}
	return fmt.Errorf("after block %d, sent %d times: %w", max(t.acked, 0), sends, err)
}

// transmit sends the answer to the options, or the window behind what is
// acknowledged, and has the one behind that ready. That the network takes
// nothing is for the next time to mend.
func (t *transfer) transmit() error {
	if t.acked < 0 {
		p := appendOptions(nil, t.terms.accept)
		t.sendErr = t.link.send(p, len(p))
		_, _, err := t.win.blocks(1, t.terms.window)
		return err
	}
	train, n, err := t.win.blocks(t.acked+1, t.terms.window)
	if err != nil {
		return err
	}
	t.sendErr = t.link.send(train, t.win.block+headerSize)
	t.out = n
	if next := t.acked + int64(n) + 1; next <= t.win.last {
		_, _, err = t.win.blocks(next, t.terms.window)
	}
	return err
}

// What an acknowledgement says.
type verdict int

const (
	nothing  verdict = iota // it is old, or waiting is over
	progress                // something new has arrived
	repeated                // the client has what it had: the window is lost
)

// await waits until the client has acknowledged something new, and returns
// progress; or so long after a window was sent, and returns nothing.
//
// An acknowledgement of what was acknowledged before is mostly a duplicate:
// answering it would double every block from there on (RFC 1123, section
// 4.2.3.1: the sorcerer's apprentice). But a client that misses the first
// block of a window says so with just that (RFC 7440, section 4). So it counts,
// as repeated, if the window has several blocks and hasty is true: then this
// window and the one before were sent once, and nothing could be in doubt.
func (t *transfer) await(sent time.Time, wait time.Duration, hasty bool) (verdict, error) {
	for left := wait; left > 0; left = wait - time.Since(sent) {
		n, from, err := t.link.receive(t.in[:], left)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nothing, nil
		}
		if err != nil {
			return nothing, err
		}
		if from != t.client {
			t.stranger(t.in[:n], from)
			continue
		}
		r, err := parseReply(t.in[:n])
		if err != nil {
			t.stats.malformed.Add(1)
			continue
		}
		if r.op == opError {
			return nothing, t.refusedBy(r)
		}
		switch v := t.take(r.block); {
		case v == progress, v == repeated && hasty && t.out > 1:
			return v, nil
		}
	}
	return nothing, nil
}

// take takes an acknowledgement of the block whose number ends with these 16
// bits. It counts only if that block has been sent.
func (t *transfer) take(block uint16) verdict {
	if t.acked < 0 {
		if block != 0 {
			return nothing
		}
		t.acked = 0
		t.heard.Store(true)
		return progress
	}
	ahead := int64(block - uint16(t.acked))
	if ahead == 0 {
		return repeated
	}
	if ahead > int64(t.out) {
		return nothing
	}
	t.acked += ahead
	t.heard.Store(true)
	return progress
}

// refusedBy makes an error of one of the client's.
func (t *transfer) refusedBy(r reply) error {
	if t.acked < 0 {
		return errProbe
	}
	return fmt.Errorf("after block %d: the client ends it: code %d %q", t.acked, r.code, r.text)
}

// stranger answers a datagram that is not the client's, so that whoever sent it
// stops (RFC 1350, section 4). An error is never answered, or two servers
// could go on for ever.
func (t *transfer) stranger(p []byte, from netip.AddrPort) {
	t.stats.strangers.Add(1)
	t.strangers++
	r, err := parseReply(p)
	if t.strangers > maxStrangers || err != nil || r.op == opError || !plausible(from) {
		return
	}
	_ = t.link.reply(appendError(nil, codeStranger, "unknown transfer"), from)
}
