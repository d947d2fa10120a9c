package multicast

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var offloads = struct{ send, receive []string }{
	[]string{offloadGSO, offloadBatch, offloadSingle},
	[]string{offloadGRO, offloadBatch, offloadSingle},
}

// patience is how long a test waits for datagrams that must come.
const patience = 10 * time.Second

// loopback returns the loopback interface and a group with a port that nobody
// uses.
func loopback(t testing.TB) (*net.Interface, netip.AddrPort) {
	t.Helper()
	ifi, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return ifi, netip.AddrPortFrom(netip.MustParseAddr("239.255.83.1"), conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
}

// openSender returns a sender with the given mode that ends with the test.
func openSender(t testing.TB, opt senderOptions, mode string) *dataSender {
	t.Helper()
	if opt.Hops == 0 {
		opt.Hops = 1
	}
	s, err := newDataSender(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close() })
	if got := s.offload(); got != offloadGSO {
		t.Fatalf("sender's offload = %q, want %q", got, offloadGSO)
	}
	s.mode.Store(mode)
	return s
}

// openReceiver returns a receiver with the given mode that ends with the test.
func openReceiver(t testing.TB, opt receiverOptions, mode string) *dataReceiver {
	t.Helper()
	if opt.Buffer == 0 {
		opt.Buffer = 1 << 20
	}
	r, err := newDataReceiver(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close() })
	if got := r.offload(); got != offloadGRO {
		t.Fatalf("receiver's offload = %q, want %q", got, offloadGRO)
	}
	if mode != offloadGRO {
		setInt(t, r.conn, unix.SOL_UDP, unix.UDP_GRO, 0)
	}
	r.mode.Store(mode)
	if err := r.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return r
}

// setInt sets an option of a socket.
func setInt(t testing.TB, conn syscall.Conn, level, opt, value int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	control := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, opt, value) })
	if err := errors.Join(control, err); err != nil {
		t.Fatal(err)
	}
}

// collect receives n datagrams.
func collect(t testing.TB, r *dataReceiver, n int) [][]byte {
	t.Helper()
	var all [][]byte
	for len(all) < n {
		if err := r.receive(func(p []byte) { all = append(all, bytes.Clone(p)) }); err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(all), n, err)
		}
	}
	return all
}

// pattern returns n bytes that are different in each datagram.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8*13)
	}
	return p
}

// checkTrain sends a train and checks that it arrives whole and in order.
func checkTrain(t *testing.T, s *dataSender, r *dataReceiver, length, size int) {
	t.Helper()
	train := pattern(length)
	if err := s.send(train, size); err != nil {
		t.Fatal(err)
	}
	n := (length + size - 1) / size
	got := collect(t, r, n)
	if len(got) != n {
		t.Fatalf("train of %d bytes in datagrams of %d: got %d datagrams, want %d", length, size, len(got), n)
	}
	for i, p := range got {
		if want := train[i*size : min((i+1)*size, length)]; !bytes.Equal(p, want) {
			t.Fatalf("train of %d bytes in datagrams of %d: datagram %d is %d bytes %.8x, want %d bytes %.8x",
				length, size, i, len(p), p, len(want), want)
		}
	}
}

// trains are lengths of trains with the size of their datagrams: full, with a
// short last datagram, one datagram, a short one, one byte in the last.
var trains = [][2]int{{maxTrain * 1400, 1400}, {10*1400 + 123, 1400}, {1400, 1400}, {17, 1400}, {1401, 1400}, {maxTrain, 1}}

// checkModes checks trains by all pairs of modes.
func checkModes(t *testing.T, out senderOptions, in receiverOptions, trains [][2]int) {
	for _, sending := range offloads.send {
		for _, receiving := range offloads.receive {
			t.Run(sending+"-"+receiving, func(t *testing.T) {
				r := openReceiver(t, in, receiving)
				s := openSender(t, out, sending)
				for _, train := range trains {
					checkTrain(t, s, r, train[0], train[1])
				}
				if s.offload() != sending || r.offload() != receiving {
					t.Errorf("offload = %q and %q after the trains, want %q and %q",
						s.offload(), r.offload(), sending, receiving)
				}
			})
		}
	}
}

func TestTrain(t *testing.T) {
	lo, group := loopback(t)
	// The last two need several messages of the kernel, and the last is as
	// large as a datagram can be.
	large := append(trains[:len(trains):len(trains)], [2]int{20*9000 + 1, 9000}, [2]int{2 * maxMessage, maxMessage})
	checkModes(t, senderOptions{Interface: lo, Group: group}, receiverOptions{Interface: lo, Group: group}, large)
}

// TestTrainAtOnce shows that the kernel hands over in one piece what was sent
// in one piece.
func TestTrainAtOnce(t *testing.T) {
	lo, group := loopback(t)
	r := openReceiver(t, receiverOptions{Interface: lo, Group: group}, offloadGRO)
	s := openSender(t, senderOptions{Interface: lo, Group: group}, offloadGSO)
	if err := s.send(pattern(maxTrain*1472), 1472); err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := r.receive(func([]byte) { n++ }); err != nil {
		t.Fatal(err)
	}
	if n != maxTrain || r.used != 1 {
		t.Errorf("received %d datagrams in %d messages, want %d in 1", n, r.used, maxTrain)
	}
}

func TestSendRefuses(t *testing.T) {
	lo, group := loopback(t)
	s := openSender(t, senderOptions{Interface: lo, Group: group}, offloadGSO)
	for _, tt := range []struct{ length, size int }{{100, 0}, {maxTrain*10 + 1, 10}, {10, maxMessage + 1}} {
		if err := s.send(make([]byte, tt.length), tt.size); err == nil {
			t.Errorf("send of %d bytes in datagrams of %d: no error", tt.length, tt.size)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if err := s.send([]byte("late"), 4); !errors.Is(err, net.ErrClosed) {
		t.Errorf("send after close = %v, want %v", err, net.ErrClosed)
	}
}

// TestFallBack has the kernel refuse GSO, as it does for sockets without
// checksums.
func TestFallBack(t *testing.T) {
	lo, group := loopback(t)
	r := openReceiver(t, receiverOptions{Interface: lo, Group: group}, offloadGRO)
	s := openSender(t, senderOptions{Interface: lo, Group: group}, offloadGSO)
	setInt(t, s.conn, unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
	checkTrain(t, s, r, 10*1400+123, 1400)
	if got := s.offload(); got != offloadBatch {
		t.Errorf("offload = %q, want %q", got, offloadBatch)
	}
	checkTrain(t, s, r, 10*1400+123, 1400)
}

func TestFallBackFrom(t *testing.T) {
	tests := []struct {
		mode string
		err  error
		want string
		ok   bool
	}{
		{offloadGSO, unix.EIO, offloadBatch, true},
		{offloadGSO, unix.EINVAL, offloadBatch, true},
		{offloadGSO, unix.ENOTSUP, offloadBatch, true},
		{offloadGSO, unix.ENOSYS, offloadSingle, true},
		{offloadGSO, unix.EMSGSIZE, offloadGSO, false},
		{offloadGSO, unix.ENOBUFS, offloadGSO, false},
		{offloadBatch, unix.ENOSYS, offloadSingle, true},
		{offloadBatch, unix.EIO, offloadBatch, false},
		{offloadSingle, unix.ENOSYS, offloadSingle, false},
	}
	for _, tt := range tests {
		s := new(dataSender)
		s.mode.Store(tt.mode)
		if ok := s.fallBack(tt.err); ok != tt.ok || s.offload() != tt.want {
			t.Errorf("fallBack(%v) from %s = %v to %s, want %v to %s", tt.err, tt.mode, ok, s.offload(), tt.ok, tt.want)
		}
	}
}

func TestDropped(t *testing.T) {
	for _, tt := range []struct {
		err        error
		lost, down bool
	}{
		{unix.ENOBUFS, true, false},
		{unix.EAGAIN, true, false},
		{unix.EPERM, true, false},
		{fmt.Errorf("write: %w", os.ErrDeadlineExceeded), true, false},
		{unix.ENETDOWN, false, true},
		{unix.ENODEV, false, true},
		{unix.ENETUNREACH, false, true},
		{unix.EMSGSIZE, false, false},
		{net.ErrClosed, false, false},
	} {
		if got := isLoss(tt.err); got != tt.lost {
			t.Errorf("isLoss(%v) = %v, want %v", tt.err, got, tt.lost)
		}
		if got := linkDown(tt.err); got != tt.down {
			t.Errorf("linkDown(%v) = %v, want %v", tt.err, got, tt.down)
		}
	}
}

// TestGroupsApart sends to another group on the same port first: if it was
// heard, it would be heard first.
func TestGroupsApart(t *testing.T) {
	lo, group := loopback(t)
	other := netip.AddrPortFrom(netip.MustParseAddr("239.255.83.2"), group.Port())
	checkFirst(t, lo, group, other)
}

func checkFirst(t *testing.T, ifi *net.Interface, group, other netip.AddrPort) {
	t.Helper()
	for _, pair := range [][2]netip.AddrPort{{group, other}, {other, group}} {
		mine := openReceiver(t, receiverOptions{Interface: ifi, Group: pair[0]}, offloadGRO)
		openReceiver(t, receiverOptions{Interface: ifi, Group: pair[1]}, offloadGRO)
		for _, to := range []netip.AddrPort{pair[1], pair[0]} {
			s := openSender(t, senderOptions{Interface: ifi, Group: to, Loopback: true}, offloadGSO)
			if err := s.send([]byte(to.String()), 100); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := string(collect(t, mine, 1)[0]), pair[0].String(); got != want {
			t.Errorf("receiver of %s heard what was sent to %s", want, got)
		}
	}
}

// TestManyReceivers shows that each receiver on a machine gets everything.
func TestManyReceivers(t *testing.T) {
	lo, group := loopback(t)
	a := openReceiver(t, receiverOptions{Interface: lo, Group: group}, offloadGRO)
	b := openReceiver(t, receiverOptions{Interface: lo, Group: group}, offloadGRO)
	s := openSender(t, senderOptions{Interface: lo, Group: group}, offloadGSO)
	checkTrain(t, s, a, 10*1400, 1400)
	if got := len(collect(t, b, 10)); got != 10 {
		t.Errorf("the second receiver got %d datagrams, want 10", got)
	}
}

// sendFrom sends p to group by lo from one of its addresses.
func sendFrom(t *testing.T, ifi *net.Interface, from, group netip.AddrPort, p string) {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(from))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if group.Addr().Is6() {
		setInt(t, conn, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, ifi.Index)
		setInt(t, conn, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 1)
	} else {
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		control := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: int32(ifi.Index)})
		})
		if err := errors.Join(control, err); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.WriteToUDPAddrPort([]byte(p), group); err != nil {
		t.Fatal(err)
	}
}

// checkSourceFilter sends from another source first.
func checkSourceFilter(t *testing.T, ifi *net.Interface, group netip.AddrPort, source, other string) {
	t.Helper()
	r := openReceiver(t, receiverOptions{Interface: ifi, Group: group, Source: netip.MustParseAddr(source)}, offloadGRO)
	for _, from := range []string{other, source} {
		sendFrom(t, ifi, netip.AddrPortFrom(netip.MustParseAddr(from), 0), group, from)
	}
	if got := string(collect(t, r, 1)[0]); got != source {
		t.Errorf("%v: heard %s, want %s alone", group, got, source)
	}
}

func TestSource(t *testing.T) {
	lo, group := loopback(t)
	for _, addr := range []string{"239.255.83.1", "232.83.83.1"} {
		group := netip.AddrPortFrom(netip.MustParseAddr(addr), group.Port())
		checkSourceFilter(t, lo, group, "127.0.0.2", "127.0.0.3")
	}
}

func TestClose(t *testing.T) {
	lo, group := loopback(t)
	for _, mode := range offloads.receive {
		r := openReceiver(t, receiverOptions{Interface: lo, Group: group}, mode)
		done := make(chan error)
		started := make(chan struct{})
		go func() {
			close(started)
			done <- r.receive(func([]byte) { t.Error("received something") })
		}()
		<-started
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: receive = %v, want %v", mode, err, net.ErrClosed)
		}
	}
}

func TestDeadline(t *testing.T) {
	lo, group := loopback(t)
	for _, mode := range offloads.receive {
		r := openReceiver(t, receiverOptions{Interface: lo, Group: group}, mode)
		s := openSender(t, senderOptions{Interface: lo, Group: group}, offloadGSO)
		if err := r.conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		err := r.receive(func([]byte) { t.Error("received something") })
		if !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), group.String()+" on lo") {
			t.Errorf("%s: receive = %v, want %v with group and interface", mode, err, os.ErrDeadlineExceeded)
		}
		if err := r.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		checkTrain(t, s, r, 3000, 1400)
	}
}

func TestRejoin(t *testing.T) {
	lo, group := loopback(t)
	r := openReceiver(t, receiverOptions{Interface: lo, Group: group}, offloadGRO)
	s := openSender(t, senderOptions{Interface: lo, Group: group}, offloadGSO)
	for range 3 {
		if err := r.rejoin(); err != nil {
			t.Fatal(err)
		}
		checkTrain(t, s, r, 3000, 1400)
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if err := r.rejoin(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("rejoin after close = %v, want %v", err, net.ErrClosed)
	}
}

func TestBuffer(t *testing.T) {
	lo, group := loopback(t)
	r := openReceiver(t, receiverOptions{Interface: lo, Group: group, Buffer: 100_000}, offloadGRO)
	if got := r.buffer(); got != 100_000 {
		t.Errorf("buffer = %d, want 100000", got)
	}
}

// TestNoGarbage shows that neither end allocates per train or datagram.
func TestNoGarbage(t *testing.T) {
	lo, group := loopback(t)
	for i, mode := range offloads.send {
		r := openReceiver(t, receiverOptions{Interface: lo, Group: group}, offloads.receive[i])
		s := openSender(t, senderOptions{Interface: lo, Group: group}, mode)
		train := pattern(maxTrain*1400 - 5)
		left := 0
		count := func([]byte) { left-- }
		got := testing.AllocsPerRun(50, func() {
			if err := s.send(train, 1400); err != nil {
				t.Fatal(err)
			}
			for left = maxTrain; left > 0; {
				if err := r.receive(count); err != nil {
					t.Fatal(err)
				}
			}
		})
		if got != 0 {
			t.Errorf("%s and %s: %v allocations per train, want none", mode, r.offload(), got)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	lo, group := loopback(t)
	at := func(addr string) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(addr), group.Port())
	}
	tests := []struct {
		opt  receiverOptions
		want string
	}{
		{receiverOptions{Interface: lo, Group: at("192.0.2.1")}, "192.0.2.1 is no multicast group"},
		{receiverOptions{Interface: lo, Group: netip.AddrPortFrom(group.Addr(), 0)}, "group 239.255.83.1: no port"},
		{receiverOptions{Group: group}, "group 239.255.83.1: no interface"},
		{receiverOptions{Interface: lo, Group: at("232.1.1.1")}, "group 232.1.1.1 needs a source"},
		{
			receiverOptions{Interface: lo, Group: group, Source: netip.MustParseAddr("fd83::1")},
			"group 239.255.83.1 cannot have the source fd83::1",
		},
		{
			receiverOptions{Interface: &net.Interface{Name: "gone0", Index: 1 << 30}, Group: group},
			fmt.Sprintf("joining %v on gone0: setsockopt: no such device", group),
		},
	}
	for _, tt := range tests {
		r, err := newDataReceiver(tt.opt)
		if err == nil {
			r.close()
		}
		if got := fmt.Sprint(err); got != tt.want {
			t.Errorf("newDataReceiver(%v) = %s, want %s", tt.opt.Group, got, tt.want)
		}
	}
	if s, err := newDataSender(senderOptions{Interface: lo, Group: group, Hops: 300}); err == nil {
		s.close()
		t.Error("newDataSender with 300 hops: no error")
	}
}

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		p    string
		size int
		want string
	}{
		{"abcdef", 2, "ab|cd|ef|"},
		{"abcde", 2, "ab|cd|e|"},
		{"abc", 3, "abc|"},
		{"abc", 4, "abc|"},
		{"abc", 0, "abc|"},
		{"abc", -1, "abc|"},
		{"", 0, "|"},
		{"", 5, "|"},
	} {
		var got strings.Builder
		split([]byte(tt.p), tt.size, func(p []byte) { got.WriteString(string(p) + "|") })
		if got.String() != tt.want {
			t.Errorf("split(%q, %d) = %q, want %q", tt.p, tt.size, got.String(), tt.want)
		}
	}
}
