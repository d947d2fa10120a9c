package multicast

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of a control channel.
const (
	dialTime   = 5 * time.Second  // for TCP and again for TLS
	helloTime  = 5 * time.Second  // for the first message of a receiver
	senderTime = 10 * time.Second // of a sender's silence, section 4
	peerTime   = 30 * time.Second // of a receiver's silence
	flushTime  = 2 * time.Second  // for the last messages, and again for the peer to hang up

	queueMessages = 256     // that wait to be written
	queueBytes    = 1 << 20 // of these, not counting the last one
	pieceBytes    = 1 << 16 // that must move within the time of silence
)

// How a control channel breaks.
var (
	errSilent   = errors.New("nothing heard")
	errOverflow = errors.New("it does not read what it is sent")
	errEnding   = errors.New("the connection is being closed")
)

// A control is one end of a control channel. What is sent waits in a queue with
// a bound, so a peer that does not read never blocks the session.
type control struct {
	conn *tls.Conn
	from end // the peer
	wake chan struct{}

	mu     sync.Mutex
	queue  []byte
	queued int   // messages in it
	ending bool  // no more is read, and deadlines stay as they are
	broken error // why the connection was closed from this end
}

// newControl returns the end of a control channel that hears messages from the
// other one. The handshake is over. The control closes conn when run returns.
func newControl(conn *tls.Conn, from end) *control {
	return &control{conn: conn, from: from, wake: make(chan struct{}, 1)}
}

// A connector makes the connection below that of TLS.
type connector func(ctx context.Context, to netip.AddrPort) (net.Conn, error)

// dialControl connects to the control port of a sender.
func dialControl(ctx context.Context, connect connector, addr netip.AddrPort, fingerprint []byte) (*tls.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*dialTime)
	defer cancel()
	raw, err := connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, clientTLS(fingerprint, alpnControl))
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}

// exporter returns the 32 bytes that are particular to the connection, which
// the proofs of the key cover.
func (c *control) exporter() ([]byte, error) {
	state := c.conn.ConnectionState()
	return state.ExportKeyingMaterial(exporterLabel, nil, 32)
}

// send puts a message into the queue. It never blocks and is safe for
// concurrent use. An error says that the connection is lost.
func (c *control) send(m message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return c.broken
	}
	if c.queued >= queueMessages || len(c.queue) >= queueBytes {
		return c.breakOff(errOverflow)
	}
	c.queue = appendMessage(c.queue, m)
	c.queued++
	select {
	case c.wake <- struct{}{}:
	default: // the writer knows already
	}
	return nil
}

// breakOff closes the connection without a word. The caller holds c.mu.
func (c *control) breakOff(err error) error {
	if c.broken == nil {
		c.broken = err
		c.conn.NetConn().Close() // that of tls.Conn would wait for the peer
	}
	return c.broken
}

// abandon closes the connection without a word.
func (c *control) abandon(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breakOff(err)
}

// run calls handle for each message, one after the other, and writes what is
// sent, until ctx ends, handle returns an error, the peer is silent for too
// long, or the connection breaks; it returns why. In the first two cases what
// was sent reaches the peer if it reads within a second or two. run is called
// once; when it returns, its goroutines have ended and conn is closed.
func (c *control) run(ctx context.Context, handle func(message) error) error {
	var verdict error // of handle
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return c.read(func(m message) error { verdict = handle(m); return verdict })
	})
	g.Go(func() error { return c.write(gctx) })
	g.Go(func() error { <-gctx.Done(); c.stop(); return nil })
	err := g.Wait()
	switch {
	case verdict != nil:
		c.farewell()
		err = verdict
	case ctx.Err() != nil:
		c.farewell()
		err = context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.breakOff(err)
}

// stop ends the reading and gives the writing its last deadline.
func (c *control) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	c.conn.SetReadDeadline(time.Unix(1, 0))
	c.conn.SetWriteDeadline(time.Now().Add(flushTime))
}

// farewell writes the rest of the queue and waits until the peer hangs up, too.
// To close a connection on which something has come that was not read makes
// the kernel reset it, and then the peer may lose what it has not read yet.
func (c *control) farewell() {
	bound := time.AfterFunc(flushTime, func() { c.conn.NetConn().Close() })
	defer bound.Stop()
	c.conn.SetReadDeadline(time.Time{})
	var reading sync.WaitGroup
	reading.Go(func() { io.Copy(io.Discard, c.conn) }) // what comes now is too late
	if c.flush() != nil || c.conn.CloseWrite() != nil {
		c.conn.NetConn().Close()
	}
	reading.Wait()
}

// write writes what is in the queue until ctx ends or the connection breaks.
func (c *control) write(ctx context.Context) error {
	for {
		if err := c.flush(); err != nil {
			return err
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flush writes what is in the queue now.
func (c *control) flush() error {
	for p := c.take(); len(p) > 0; {
		piece := p[:min(len(p), pieceBytes)]
		c.extend(c.conn.SetWriteDeadline, c.silence())
		if _, err := c.conn.Write(piece); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return errOverflow
			}
			return err
		}
		p = p[len(piece):]
	}
	return nil
}

// take empties the queue.
func (c *control) take() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.queue
	c.queue, c.queued = nil, 0
	return p
}

// silence is how long the peer may neither be heard nor read.
func (c *control) silence() time.Duration {
	if c.from == fromSender {
		return senderTime
	}
	return peerTime
}

// extend sets a deadline, unless the connection has its last ones.
func (c *control) extend(set func(time.Time) error, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending {
		return errEnding
	}
	return set(time.Now().Add(d))
}

// read hands each message to handle until that or the connection fails.
func (c *control) read(handle func(message) error) error {
	slow := &patientReader{c: c, limit: c.silence()}
	in := bufio.NewReader(slow)
	if c.from == fromReceiver {
		slow.limit = helloTime
		if err := checkGreeting(in); err != nil {
			return slow.explain(err)
		}
	}
	for {
		m, err := readMessage(in, c.from)
		if err != nil {
			return slow.explain(err)
		}
		if err := handle(m); err != nil {
			return err
		}
		slow.left, slow.limit = 0, c.silence()
	}
}

// checkGreeting refuses a first message that is too long for HELLO, because
// nobody knows yet who it is that wants so much memory.
func checkGreeting(in *bufio.Reader) error {
	p, err := in.Peek(4)
	if err != nil {
		return err
	}
	if n := binary.LittleEndian.Uint32(p); n > maxBody {
		return fmt.Errorf("%w: %d bytes where HELLO is meant", errMalformed, n)
	}
	return nil
}

// A patientReader reads what the peer of a control sends. A message, or each
// piece of a long one, must come within the limit; that its bytes trickle does
// not help.
type patientReader struct {
	c     *control
	limit time.Duration
	left  int // bytes that the present deadline is for
}

func (r *patientReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		if err := r.c.extend(r.c.conn.SetReadDeadline, r.limit); err != nil {
			return 0, err
		}
		r.left = pieceBytes
	}
	n, err := r.c.conn.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// explain tells silence from other errors.
func (r *patientReader) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w for %v", errSilent, r.limit)
	}
	return err
}
