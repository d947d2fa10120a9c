package pxe

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A door lets in a bounded number of connections, in all and from each
// address. The others are closed.
type door struct {
	net.Listener
	most, each int
	forgets    bool // nothing is left of a connection afterwards

	mu   sync.Mutex
	all  int
	from map[netip.Addr]int
}

// NewDoor returns a listener that lets in at most so many connections of l at
// a time: most in all, each from one address. The others are closed at once.
func NewDoor(l net.Listener, most, each int) net.Listener { return newDoor(l, most, each, false) }

func newDoor(l net.Listener, most, each int, forgets bool) *door {
	return &door{Listener: l, most: most, each: each, forgets: forgets, from: make(map[netip.Addr]int)}
}

// Accept implements net.Listener.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if a, ok := d.enter(conn.RemoteAddr()); ok {
			return &guest{Conn: conn, d: d, from: a}, nil
		}
		conn.Close()
	}
}

// enter counts a connection, if there is room for it.
func (d *door) enter(remote net.Addr) (netip.Addr, bool) {
	var a netip.Addr
	if t, ok := remote.(*net.TCPAddr); ok {
		a = t.AddrPort().Addr().Unmap()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all >= d.most || d.from[a] >= d.each {
		return a, false
	}
	d.all++
	d.from[a]++
	return a, true
}

func (d *door) leave(a netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all--
	if d.from[a]--; d.from[a] == 0 {
		delete(d.from, a)
	}
}

// A guest is a connection that a door has let in.
type guest struct {
	net.Conn
	d    *door
	from netip.Addr
	once sync.Once
}

// Close implements net.Conn. At a door that forgets, nothing is left of a
// connection all of whose data has arrived: GRUB and firmware use the same
// ports in every boot, and what an earlier boot left open, or half closed,
// would keep the next one waiting for its first answer.
func (g *guest) Close() error {
	g.once.Do(func() { g.d.leave(g.from) })
	if t, ok := g.Conn.(*net.TCPConn); ok && g.d.forgets && arrived(t) {
		_ = t.SetLinger(0) // a reset in place of a farewell that nobody may hear
	}
	return g.Conn.Close()
}

// arrived tells whether everything that was sent has been acknowledged, tcp(7)
// SIOCOUTQ.
func arrived(t *net.TCPConn) bool {
	raw, err := t.SyscallConn()
	if err != nil {
		return false
	}
	left := -1
	if raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) != nil || err != nil {
		return false
	}
	return left == 0
}

// ReadFrom implements io.ReaderFrom: it lets the kernel send a file by itself.
func (g *guest) ReadFrom(r io.Reader) (int64, error) {
	if to, ok := g.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{g.Conn}, r)
}

// piece is how much of a file has to get through within httpPatience.
const piece = 256 << 10

// A patient writer gives each piece of an answer its own deadline, so that a
// slow machine gets all of it, and one that has gone keeps nothing busy.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (p *patient) Write(b []byte) (int, error) {
	p.extend()
	return p.ResponseWriter.Write(b)
}

// ReadFrom implements io.ReaderFrom, piece by piece.
func (p *patient) ReadFrom(r io.Reader) (n int64, err error) {
	to, ok := p.ResponseWriter.(io.ReaderFrom)
	limit := int64(1<<63 - 1)
	if l, is := r.(*io.LimitedReader); is {
		r, limit = l.R, l.N // the kernel sends files by itself through one limit, not two
	}
	for n < limit {
		p.extend()
		part := &io.LimitedReader{R: r, N: min(piece, limit-n)}
		want := part.N
		var m int64
		if ok {
			m, err = to.ReadFrom(part)
		} else {
			m, err = io.Copy(struct{ io.Writer }{p.ResponseWriter}, part)
		}
		if n += m; err != nil || m < want {
			return n, err
		}
	}
	return n, nil
}

// extend sets the deadline. Recorders of tests have none.
func (p *patient) extend() { _ = p.control.SetWriteDeadline(time.Now().Add(httpPatience)) }

// Unwrap is for http.ResponseController.
func (p *patient) Unwrap() http.ResponseWriter { return p.ResponseWriter }
