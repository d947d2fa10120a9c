package multicast

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// A receiver reads as many messages at once. Each has room for the largest one
// that the kernel puts together; memory that is never touched costs nothing.
const (
	readMessages = 32
	readSize     = 1 << 16
)

// receiverOptions say which datagrams are received.
type receiverOptions struct {
	Interface *net.Interface // by which they come; never nil
	Group     netip.AddrPort // where they go
	Source    netip.Addr     // where they must come from; anywhere if not valid
	Buffer    int            // bytes that may wait; 0 is what the system does
}

// A dataReceiver receives the datagrams of one group that come by one
// interface. One goroutine may receive; others may call the other methods
// meanwhile.
type dataReceiver struct {
	receiverOptions
	conn  *net.UDPConn
	raw   syscall.RawConn
	mode  atomic.Value // string: offload is for any goroutine
	given int

	msgs messages
	bufs [][]byte
	oobs [][]byte
	used int // messages that the kernel has written to

	// Results of read, which is made a func once, since each time would be
	// garbage.
	readFunc func(fd uintptr) bool
	errno    syscall.Errno
}

// newDataReceiver opens a socket for receiving and joins the group. The caller
// closes it.
func newDataReceiver(opt receiverOptions) (*dataReceiver, error) {
	opt.Group, opt.Source = unmap(opt.Group), opt.Source.Unmap()
	if err := checkGroup(opt.Group, opt.Interface); err != nil {
		return nil, err
	}
	if err := checkSource(opt.Group.Addr(), opt.Source); err != nil {
		return nil, err
	}
	r := &dataReceiver{
		receiverOptions: opt,
		msgs:            newMessages(readMessages),
		bufs:            make([][]byte, readMessages),
		oobs:            make([][]byte, readMessages),
		used:            readMessages,
	}
	r.mode.Store(offloadBatch)
	for i := range r.bufs {
		r.bufs[i] = make([]byte, readSize)
		r.oobs[i] = make([]byte, unix.CmsgSpace(4))
	}
	conn, err := openSocket(family(opt.Group.Addr()), r.prepare)
	if err == nil {
		r.conn = conn
		r.raw, err = conn.SyscallConn()
	}
	if err != nil {
		return nil, fmt.Errorf("joining %v on %s: %w", opt.Group, opt.Interface.Name, err)
	}
	r.readFunc = r.read
	return r, nil
}

// prepare sets the options of the socket, binds it and joins the group. Bound
// to the group, it gets nothing that goes to another one. SO_REUSEPORT is not
// set: with it, the kernel would give each datagram to one receiver of many.
func (r *dataReceiver) prepare(fd int) error {
	opts := []sockopt{
		{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, false},
		{"IP_MULTICAST_ALL", unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0, false},
	}
	if r.Group.Addr().Is6() {
		opts = []sockopt{
			{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, false},
			{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, false},
			{"IPV6_MULTICAST_ALL", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0, true},
		}
	}
	if err := setOptions(fd, opts); err != nil {
		return err
	}
	if err := r.prepareReads(fd); err != nil {
		return err
	}
	if err := bind(fd, r.Group, r.Interface); err != nil {
		return err
	}
	return joinGroup(fd, r.Interface.Index, r.Group.Addr(), r.Source)
}

// prepareReads sets what happens between the network and receive: the filter,
// the buffer, and whether datagrams are put together.
func (r *dataReceiver) prepareReads(fd int) error {
	if r.Source.IsValid() {
		if err := setFilter(fd, r.Source); err != nil {
			return err
		}
	}
	if r.Buffer > 0 {
		if err := setBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, r.Buffer); err != nil {
			return fmt.Errorf("setting the receive buffer: %w", err)
		}
	}
	twice, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	r.given = twice / 2 // the kernel adds as much for its own use, see socket(7)
	if unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) == nil {
		r.mode.Store(offloadGRO)
	}
	return nil
}

// bind binds the socket to the group and its port.
func bind(fd int, group netip.AddrPort, ifi *net.Interface) error {
	var sa unix.Sockaddr = &unix.SockaddrInet6{
		Addr: group.Addr().As16(), Port: int(group.Port()), ZoneId: uint32(ifi.Index),
	}
	if group.Addr().Is4() {
		sa = &unix.SockaddrInet4{Addr: group.Addr().As4(), Port: int(group.Port())}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, sa))
}

// receive waits for datagrams, until the deadline, and calls each for every
// one that is there. each may change p, and keeps no reference to it. The error
// wraps [os.ErrDeadlineExceeded] after the deadline, and [net.ErrClosed] after
// close.
func (r *dataReceiver) receive(each func(p []byte)) error {
	if r.offload() == offloadSingle {
		return r.receiveOne(each)
	}
	for i := range r.used {
		r.msgs.set(i, r.bufs[i], r.oobs[i])
	}
	r.used = 0
	if err := r.raw.Read(r.readFunc); err != nil {
		return r.explain(err)
	}
	if r.errno == unix.ENOSYS {
		r.used = readMessages
		r.mode.Store(offloadSingle)
		return r.receiveOne(each)
	}
	if r.errno != 0 {
		return r.explain(r.errno)
	}
	for i := range r.used {
		h := &r.msgs.hdrs[i]
		split(r.bufs[i][:h.n], segmentSize(r.oobs[i][:h.hdr.Controllen]), each)
	}
	return nil
}

// read receives messages, or returns false if there are none.
func (r *dataReceiver) read(fd uintptr) bool {
	r.used, r.errno = r.msgs.receive(fd)
	return r.errno != unix.EAGAIN
}

// receiveOne is receive without recvmmsg.
func (r *dataReceiver) receiveOne(each func(p []byte)) error {
	n, oobn, _, _, err := r.conn.ReadMsgUDPAddrPort(r.bufs[0], r.oobs[0])
	if err != nil {
		return r.explain(err)
	}
	split(r.bufs[0][:n], segmentSize(r.oobs[0][:oobn]), each)
	return nil
}

// explain makes an error that names the group and the interface.
func (r *dataReceiver) explain(err error) error {
	if linkDown(err) {
		err = fmt.Errorf("%w: %w", errLinkDown, err)
	}
	return fmt.Errorf("receiving %v on %s: %w", r.Group, r.Interface.Name, err)
}

// rejoin leaves the group and joins it again, so that switches hear of it. What
// arrives in between is lost. The error wraps errLinkDown if the interface is
// not there; a later call then joins.
func (r *dataReceiver) rejoin() error {
	var err error
	control := r.raw.Control(func(fd uintptr) {
		err = leaveGroup(int(fd), r.Interface.Index, r.Group.Addr(), r.Source)
		if err == nil || linkDown(err) { // as if it was not a member
			err = joinGroup(int(fd), r.Interface.Index, r.Group.Addr(), r.Source)
		}
	})
	if err := errors.Join(control, err); err != nil {
		return r.explain(err)
	}
	return nil
}

// buffer returns how many bytes may wait to be received: less than was asked
// for, unless root asks.
func (r *dataReceiver) buffer() int { return r.given }

// offload returns how datagrams are received: gro, batch or single.
func (r *dataReceiver) offload() string { return r.mode.Load().(string) }

// close leaves the group and closes the socket. A receive that waits returns.
func (r *dataReceiver) close() error { return r.conn.Close() }
