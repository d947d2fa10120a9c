package pxe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// sockets are what a Server listens on. Those that its mode does without are
// nil.
type sockets struct {
	dhcp, boot net.PacketConn
	tftp       *net.UDPConn
	http       net.Listener
}

// listen opens all sockets, or none.
func (s *Server) listen() (*sockets, error) {
	o, ports := &sockets{}, s.ports()
	open := func() error {
		if s.mode() != Off {
			dhcp, err := s.listenUDP(netip.IPv4Unspecified(), ports.DHCP)
			if err != nil {
				return err
			}
			o.dhcp = &voice{dhcp, s.addr()}
			boot, err := s.listenUDP(netip.IPv4Unspecified(), ports.Boot)
			if err != nil {
				return err
			}
			o.boot = &voice{boot, s.addr()}
		}
		var err error
		if o.tftp, err = s.listenUDP(s.addr(), ports.TFTP); err != nil || s.Mounted {
			return err
		}
		o.http, err = s.listenHTTP(ports.HTTP)
		return err
	}
	if err := open(); err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

// close closes what is open.
func (o *sockets) close() {
	for _, c := range []net.PacketConn{o.dhcp, o.boot} {
		if c != nil {
			c.Close()
		}
	}
	if o.tftp != nil {
		o.tftp.Close()
	}
	if o.http != nil {
		o.http.Close()
	}
}

// listenUDP opens a socket that hears and speaks on our interface alone. It
// shares its port with nobody: whoever has it would hear half of what is said.
func (s *Server) listenUDP(a netip.Addr, port uint16) (*net.UDPConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctl := c.Control(func(fd uintptr) { err = unix.BindToDevice(int(fd), s.Interface) }); ctl != nil {
			return ctl
		}
		if err != nil {
			return fmt.Errorf("binding to interface %s: %w", s.Interface, err)
		}
		return nil
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(a, port).String())
	if err != nil {
		return nil, ExplainPort("udp", port, err)
	}
	return conn.(*net.UDPConn), nil
}

// listenHTTP opens the port of HTTP at our address.
func (s *Server) listenHTTP(port uint16) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		if ctl := c.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(httpUnacked.Milliseconds()))
		}); ctl != nil {
			return ctl
		}
		return err // what is accepted inherits it
	}}
	l, err := lc.Listen(context.Background(), "tcp4", netip.AddrPortFrom(s.addr(), port).String())
	if err != nil {
		return nil, ExplainPort("tcp", port, err)
	}
	return l, nil
}

// ExplainPort makes a [PortError] of an error that says that a port is taken:
// it names who has it. Any other error it returns as it is. network is tcp or
// udp.
func ExplainPort(network string, port uint16, err error) error {
	if !errors.Is(err, unix.EADDRINUSE) {
		return err
	}
	return &PortError{Network: network, Port: port, By: portUser(network, port)}
}

// A voice is a UDP socket that speaks from one address, whatever others its
// interface has: clients compare it with the server's identifier.
type voice struct {
	*net.UDPConn
	from netip.Addr
}

// WriteTo implements net.PacketConn.
func (v *voice) WriteTo(p []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("%v is no address of UDP", to)
	}
	oob := unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: v.from.As4()})
	n, _, err := v.WriteMsgUDP(p, oob, u)
	return n, err
}
