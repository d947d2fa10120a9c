package multicast

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stall is how long a train waits for the interface to take it. What waits
// longer counts as lost: a network card that is stuck does not hang a session.
const stall = time.Second

// sendBuffer is the number of bytes that may wait in a socket for the
// interface: two trains, for which the kernel takes twice as much. So a slow
// link slows the sender. Eight trains are more than the queue of an interface
// may hold, which then drops whole trains without a word.
const sendBuffer = 2 << 16

// dscp is the class of service that datagrams ask for: CS1, below all else (RFC
// 3662), as a value of the IPv4 TOS or IPv6 traffic class.
const dscp = 8 << 2

// senderOptions say how datagrams are sent.
type senderOptions struct {
	Interface *net.Interface // by which they leave; never nil
	Group     netip.AddrPort // where they go
	Hops      int            // networks that they may pass, 1 to 255
	Loopback  bool           // whether receivers on this machine get them, too
}

// A dataSender sends trains of datagrams to one group by one interface. One
// goroutine may send at a time; others may call the other methods meanwhile.
type dataSender struct {
	senderOptions
	conn *net.UDPConn
	raw  syscall.RawConn
	mode atomic.Value // string: offload is for any goroutine

	msgs messages
	oob  []byte // segmentControl for what is being sent

	// Parameter and results of write, which is made a func once, since each
	// time would be garbage.
	writeFunc func(fd uintptr) bool
	n, taken  int
	errno     syscall.Errno
}

// newDataSender opens a socket for sending. The caller closes it.
func newDataSender(opt senderOptions) (*dataSender, error) {
	opt.Group = unmap(opt.Group)
	if err := checkGroup(opt.Group, opt.Interface); err != nil {
		return nil, err
	}
	s := &dataSender{
		senderOptions: opt,
		msgs:          newMessages(maxTrain),
		oob:           make([]byte, unix.CmsgSpace(2)),
	}
	s.mode.Store(offloadBatch)
	conn, err := openSocket(family(opt.Group.Addr()), s.prepare)
	if err == nil {
		s.conn = conn
		s.raw, err = conn.SyscallConn()
	}
	if err != nil {
		return nil, fmt.Errorf("opening %v by %s: %w", opt.Group, opt.Interface.Name, err)
	}
	s.writeFunc = s.write
	s.msgs.address(sockaddr(opt.Group, opt.Interface.Index))
	return s, nil
}

// prepare sets the options of the socket.
func (s *dataSender) prepare(fd int) error {
	loop := 0
	if s.Loopback {
		loop = 1
	}
	if err := setBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, sendBuffer); err != nil {
		return fmt.Errorf("setting the send buffer: %w", err)
	}
	// A kernel that does not know the option takes trains for large datagrams.
	if _, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT); err == nil {
		s.mode.Store(offloadGSO)
	}
	if s.Group.Addr().Is4() {
		err := unix.SetsockoptIPMreqn(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF,
			&unix.IPMreqn{Ifindex: int32(s.Interface.Index)})
		if err != nil {
			return fmt.Errorf("setting IP_MULTICAST_IF: %w", err)
		}
		return setOptions(fd, []sockopt{
			{"IP_MULTICAST_TTL", unix.IPPROTO_IP, unix.IP_MULTICAST_TTL, s.Hops, false},
			{"IP_MULTICAST_LOOP", unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, loop, false},
			{"IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO, false},
			{"IP_TOS", unix.IPPROTO_IP, unix.IP_TOS, dscp, false},
		})
	}
	return setOptions(fd, []sockopt{
		{"IPV6_MULTICAST_IF", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, s.Interface.Index, false},
		{"IPV6_MULTICAST_HOPS", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, s.Hops, false},
		{"IPV6_MULTICAST_LOOP", unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, loop, false},
		{"IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO, false},
		{"IPV6_DONTFRAG", unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1, false},
		{"IPV6_TCLASS", unix.IPPROTO_IPV6, unix.IPV6_TCLASS, dscp, false},
	})
}

// send sends a train: at most maxTrain datagrams of size bytes each, of which
// the last may be shorter. It blocks while the queue of the interface is full.
// That it returns nil does not say that the datagrams arrive. The error wraps
// errLinkDown if the interface cannot send for now, and [net.ErrClosed] after
// close.
func (s *dataSender) send(train []byte, size int) error {
	if size < 1 || size > maxMessage || len(train) > maxTrain*size {
		return fmt.Errorf("%d bytes are no train of datagrams of %d", len(train), size)
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(stall)); err != nil {
		return err
	}
	for len(train) > 0 {
		n, err := s.some(train, size)
		train = train[n:]
		if err == nil || s.fallBack(err) {
			continue
		}
		if isLoss(err) {
			return nil
		}
		return s.explain(err, size)
	}
	return nil
}

// some sends the beginning of a train and returns the number of bytes that
// were taken.
func (s *dataSender) some(train []byte, size int) (int, error) {
	if s.offload() == offloadSingle {
		return s.conn.WriteToUDPAddrPort(train[:min(size, len(train))], s.Group)
	}
	span := size // bytes of a message
	if s.offload() == offloadGSO {
		span = maxMessage / size * size
		segmentControl(s.oob, size)
	}
	s.n = 0
	for rest := train; len(rest) > 0; s.n++ {
		p := rest[:min(span, len(rest))]
		oob := s.oob
		if len(p) <= size {
			oob = nil // one datagram
		}
		s.msgs.set(s.n, p, oob)
		rest = rest[len(p):]
	}
	s.taken, s.errno = 0, 0
	if err := s.raw.Write(s.writeFunc); err != nil {
		return 0, err
	}
	if s.errno != 0 {
		return 0, s.errno
	}
	return min(s.taken*span, len(train)), nil
}

// write sends the first n messages, or returns false if there is no room.
func (s *dataSender) write(fd uintptr) bool {
	s.taken, s.errno = s.msgs.send(fd, s.n)
	return s.errno != unix.EAGAIN
}

// fallBack gives up for good, for the next simpler one, a mode that the kernel
// or the interface refuses, and returns whether err says so. EIO is what an
// interface without checksum offload says to GSO.
func (s *dataSender) fallBack(err error) bool {
	refused := errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) ||
		errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOPROTOOPT)
	switch {
	case s.offload() == offloadGSO && refused:
		s.mode.Store(offloadBatch)
	case s.offload() != offloadSingle && errors.Is(err, unix.ENOSYS):
		s.mode.Store(offloadSingle)
	default:
		return false
	}
	return true
}

// isLoss returns whether err says that what was to be sent is lost, and nothing
// more: a queue is full, the interface was stuck, or a filter of this machine
// drops it, for which the kernel says EPERM.
func isLoss(err error) bool {
	return errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) ||
		errors.Is(err, unix.EPERM) || errors.Is(err, os.ErrDeadlineExceeded)
}

// explain makes an error that names the interface.
func (s *dataSender) explain(err error, size int) error {
	switch {
	case linkDown(err):
		return fmt.Errorf("sending to %v by %s: %w: %w", s.Group, s.Interface.Name, errLinkDown, err)
	case errors.Is(err, unix.EMSGSIZE):
		mtu := s.Interface.MTU
		if now, err := net.InterfaceByIndex(s.Interface.Index); err == nil {
			mtu = now.MTU
		}
		return fmt.Errorf("sending to %v by %s: %d bytes are too many for its MTU of %d: %w",
			s.Group, s.Interface.Name, size, mtu, err)
	}
	return fmt.Errorf("sending to %v by %s: %w", s.Group, s.Interface.Name, err)
}

// close closes the socket. A send that waits returns.
func (s *dataSender) close() error { return s.conn.Close() }

// offload returns how trains are sent: gso, batch or single.
func (s *dataSender) offload() string { return s.mode.Load().(string) }
