package multicast

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An mmsghdr is a struct mmsghdr of recvmmsg(2) and sendmmsg(2): one message
// of many.
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32 // bytes that were sent or received
}

// A messages is room for many messages in one system call. It is used in place
// of ReadBatch and WriteBatch of x/net, which make two pieces of garbage for
// each message that they receive: the address of whoever sent it.
type messages struct {
	hdrs []mmsghdr
	iovs []unix.Iovec
}

func newMessages(n int) messages {
	m := messages{hdrs: make([]mmsghdr, n), iovs: make([]unix.Iovec, n)}
	for i := range m.hdrs {
		m.hdrs[i].hdr.Iov = &m.iovs[i]
		m.hdrs[i].hdr.SetIovlen(1)
	}
	return m
}

// set makes message i one of the bytes p, which must not be empty, with the
// control messages oob.
func (m *messages) set(i int, p, oob []byte) {
	m.iovs[i].Base = unsafe.SliceData(p)
	m.iovs[i].SetLen(len(p))
	h := &m.hdrs[i].hdr
	h.Control = unsafe.SliceData(oob)
	h.SetControllen(len(oob))
}

// address makes all messages go to the socket address sa.
func (m *messages) address(sa []byte) {
	for i := range m.hdrs {
		m.hdrs[i].hdr.Name = unsafe.SliceData(sa)
		m.hdrs[i].hdr.Namelen = uint32(len(sa))
	}
}

// send sends the first n messages and returns how many of them were taken. It
// does not block. The error tells why the first was not.
func (m *messages) send(fd uintptr, n int) (int, syscall.Errno) {
	return m.call(unix.SYS_SENDMMSG, fd, n)
}

// receive receives messages and returns how many. It does not block.
func (m *messages) receive(fd uintptr) (int, syscall.Errno) {
	return m.call(unix.SYS_RECVMMSG, fd, len(m.hdrs))
}

func (m *messages) call(trap, fd uintptr, n int) (int, syscall.Errno) {
	for {
		done, _, errno := unix.Syscall6(trap, fd, uintptr(unsafe.Pointer(&m.hdrs[0])), uintptr(n),
			unix.MSG_DONTWAIT, 0, 0)
		if errno == 0 {
			return int(done), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// segmentControl returns a control message that makes the kernel cut a message
// into datagrams of size bytes. See udp(7), UDP_SEGMENT.
func segmentControl(oob []byte, size int) []byte {
	h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(oob)))
	h.Level = unix.SOL_UDP
	h.Type = unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	*(*uint16)(unsafe.Pointer(&oob[unix.CmsgLen(0)])) = uint16(size)
	return oob
}

// segmentSize returns the size of the datagrams that the kernel put together
// to one message with these control messages, 0 if it was one datagram. See
// udp(7), UDP_GRO: the value is an int.
func segmentSize(oob []byte) int {
	for len(oob) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return 0
		}
		if h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4 {
			return int(*(*int32)(unsafe.Pointer(unsafe.SliceData(data))))
		}
		oob = rest
	}
	return 0
}

// split calls each for every datagram of p, of which all but the last have
// size bytes. A size below 1 says that p is one datagram.
func split(p []byte, size int, each func(p []byte)) {
	if size < 1 {
		size = len(p)
	}
	for len(p) > size {
		each(p[:size:size])
		p = p[size:]
	}
	each(p)
}
