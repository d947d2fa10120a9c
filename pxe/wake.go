package pxe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// wakePort is the port that magic packets are sent to; discard (RFC 863).
const wakePort = 9

// How often a magic packet is sent, and how far apart.
const (
	wakeTimes = 3
	wakeGap   = 100 * time.Millisecond
)

// WakeOptions say how a machine is woken. The zero value sends to the
// networks of all interfaces.
type WakeOptions struct {
	// Interface is the name of the interface that is sent on; empty is every
	// one that is up and has an IPv4 network.
	Interface string

	// Password is the SecureOn password that the machine's network card may
	// want: none, four or six bytes.
	Password []byte
}

// Wake sends the magic packet of Wake-on-LAN (AMD, publication 20213) three
// times to everybody on the network. Nothing answers it: nil says that it was
// sent on one interface at least.
func Wake(ctx context.Context, mac net.HardwareAddr, o WakeOptions) error {
	p, err := magic(mac, o.Password)
	if err != nil {
		return err
	}
	ways, err := wakeWays(o.Interface)
	if err != nil {
		return err
	}
	for i := range wakeTimes {
		if i > 0 {
			select {
			case <-time.After(wakeGap):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err := wakeOnce(p, ways); err != nil {
			return fmt.Errorf("waking %v: %w", mac, err)
		}
	}
	return nil
}

// magic returns the magic packet: six bytes of ones, the address sixteen
// times, the password.
func magic(mac net.HardwareAddr, password []byte) ([]byte, error) {
	if !usable(mac) {
		return nil, fmt.Errorf("%v is no MAC address of a machine", mac)
	}
	if n := len(password); n != 0 && n != 4 && n != 6 {
		return nil, fmt.Errorf("password of %d bytes, want 4 or 6", n)
	}
	p := bytes.Repeat([]byte{0xff}, 6)
	p = append(p, bytes.Repeat(mac, 16)...)
	return append(p, password...), nil
}

// A wakeWay is an interface, and the address of everybody on its network.
type wakeWay struct {
	name string
	all  netip.Addr
}

// wakeWays returns the interfaces to send on.
func wakeWays(name string) ([]wakeWay, error) {
	if name != "" {
		network, err := Locate(name)
		if err != nil {
			return nil, err
		}
		return []wakeWay{{name, broadcast(network)}}, nil
	}
	ifis, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var ways []wakeWay
	for _, i := range ifis {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagBroadcast == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		if network, err := Locate(i.Name); err == nil {
			ways = append(ways, wakeWay{i.Name, broadcast(network)})
		}
	}
	if len(ways) == 0 {
		return nil, errors.New("no interface is up and has an IPv4 network")
	}
	return ways, nil
}

// wakeOnce sends the packet everywhere. It fails if it was sent nowhere.
func wakeOnce(p []byte, ways []wakeWay) error {
	var errs []error
	sent := false
	for _, w := range ways {
		if err := w.send(p); err != nil {
			errs = append(errs, err)
			continue
		}
		sent = true
	}
	if sent {
		return nil
	}
	return errors.Join(errs...)
}

// send sends to everybody on the network, and to everybody on the wire.
func (w wakeWay) send(p []byte) error {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctl := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), w.name) }); ctl != nil {
			return ctl
		}
		return err
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", "0.0.0.0:0")
	if err != nil {
		return fmt.Errorf("interface %s: %w", w.name, err)
	}
	defer conn.Close()
	for _, to := range []netip.Addr{w.all, broadcastAll} {
		if _, err := conn.WriteTo(p, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, wakePort))); err != nil {
			return fmt.Errorf("interface %s: %w", w.name, err)
		}
	}
	return nil
}
