package pxe

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sync/errgroup"
)

// maxHandled is how many DHCP requests are worked on at once, for each port.
// Beyond it they are dropped: clients ask again.
const maxHandled = 64

// How long the Director may take: a machine asks what it is to boot in the
// middle of its firmware's patience, and for an archive by HTTP.
const (
	directTime = time.Second
	offerTime  = 5 * time.Second
)

// A reply is a DHCP message and where it goes to.
type reply struct {
	m  *dhcpv4.DHCPv4
	to netip.AddrPort
}

// serveDHCP answers the requests that arrive at conn until ctx is done, and
// then returns nil. answer returns nil for no answer; it is called by many
// goroutines.
func (s *Server) serveDHCP(ctx context.Context, conn net.PacketConn, answer func(context.Context, *request, netip.AddrPort) *reply) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var g errgroup.Group
	defer func() { _ = g.Wait() }() // none of them returns an error
	g.SetLimit(maxHandled)
	p := make([]byte, maxRequest+1)
	for {
		n, from, err := conn.ReadFrom(p)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		q, err := parseRequest(p[:n])
		if err != nil || n > maxRequest {
			s.counters.malformed.Add(1)
			continue
		}
		s.counters.requests.Add(1)
		if !g.TryGo(func() error { s.send(conn, answer(ctx, &q, addrPort(from))); return nil }) {
			s.counters.dropped.Add(1)
		}
	}
}

// addrPort returns the address of a datagram; not valid if it is none of UDP.
func addrPort(a net.Addr) netip.AddrPort {
	u, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := u.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// send sends an answer, if there is one.
func (s *Server) send(conn net.PacketConn, r *reply) {
	if r == nil {
		return
	}
	if _, err := conn.WriteTo(r.m.ToBytes(), net.UDPAddrFromAddrPort(r.to)); err != nil {
		s.counters.unsent.Add(1)
		s.say(slog.LevelWarn, "answer was not sent", "mac", r.m.ClientHWAddr.String(), "err", err)
		return
	}
	s.counters.answers.Add(1)
}

// A responder decides what DHCP requests are answered.
type responder struct {
	s      *Server
	leases *leases // nil in the modes that give none
}

// onServerPort answers a request on port 67.
func (r *responder) onServerPort(ctx context.Context, q *request, _ netip.AddrPort) *reply {
	m := r.decide(ctx, q)
	if m == nil {
		r.s.counters.ignored.Add(1)
		return nil
	}
	to, ok := r.s.route(q, m.MessageType())
	if !ok {
		r.s.counters.dropped.Add(1)
		return nil
	}
	return &reply{m, to}
}

// decide returns the answer to a request on port 67; nil is none.
func (r *responder) decide(ctx context.Context, q *request) *dhcpv4.DHCPv4 {
	if !q.boot {
		if r.s.mode() == Full {
			return r.lease(ctx, q)
		}
		return nil
	}
	d, ok := r.direct(ctx, q)
	if !ok {
		return nil
	}
	file := r.file(q, d)
	if r.leases != nil && (r.s.mode() == Full || d.Verdict == Agent || r.leases.has(q.client.MAC)) {
		m := r.lease(ctx, q)
		if m != nil && file != "" && m.MessageType() != dhcpv4.MessageTypeNak {
			r.s.addBoot(m, q, file)
			r.told(q, d, file)
		}
		if m != nil || r.s.mode() == Full {
			return m
		}
	}
	return r.proxy(q, d, file)
}

// proxy answers without an address.
func (r *responder) proxy(q *request, d Decision, file string) *dhcpv4.DHCPv4 {
	kind := dhcpv4.MessageTypeOffer
	switch {
	case file == "":
		return nil
	case q.kind == dhcpv4.MessageTypeDiscover:
	case q.kind == dhcpv4.MessageTypeRequest && r.s.ProxyRequest:
		kind = dhcpv4.MessageTypeAck
	default:
		return nil
	}
	m := r.s.answer(q, kind)
	r.s.addBoot(m, q, file)
	r.told(q, d, file)
	return m
}

// onBootPort answers a request on port 4011, from where a client asks for a
// boot file when it has an address already.
func (r *responder) onBootPort(ctx context.Context, q *request, from netip.AddrPort) *reply {
	if !q.boot || q.kind != dhcpv4.MessageTypeRequest && q.kind != dhcpv4.MessageTypeInform {
		r.s.counters.ignored.Add(1)
		return nil
	}
	if !r.s.near(from.Addr()) || from.Port() == 0 {
		r.s.counters.dropped.Add(1)
		return nil
	}
	d, ok := r.direct(ctx, q)
	file := r.file(q, d)
	if !ok || file == "" {
		r.s.counters.ignored.Add(1)
		return nil
	}
	m := r.s.answer(q, dhcpv4.MessageTypeAck)
	r.s.addBoot(m, q, file)
	r.told(q, d, file)
	return &reply{m, from}
}

// direct asks the Director. Not ok is no answer: a machine that is ignored, or
// a Director in trouble; the machine will ask again.
func (r *responder) direct(ctx context.Context, q *request) (d Decision, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, directTime)
	defer cancel()
	d, err := r.s.Director.Direct(ctx, q.client)
	if err != nil {
		r.s.say(slog.LevelError, "machine is not answered", "mac", q.client.MAC.String(), "err", err)
		return d, false
	}
	return d, d.Verdict != Ignore
}

// file returns the boot file of a client, as far as the boot folder has one.
func (r *responder) file(q *request, d Decision) string {
	file := r.s.bootFile(q, d)
	if file == "" {
		if r.s.chatter.first("arch " + itoa(q.code)) {
			r.s.log().Warn("no boot file for this architecture", "arch", q.code, "mac", q.client.MAC.String())
		}
		return ""
	}
	if q.ipxe {
		return file
	}
	local := string(q.client.Arch) + "/" + baseName(file)
	if !r.s.has(local) {
		if r.s.chatter.first("file " + local) {
			r.s.log().Warn("the boot folder lacks a file", "file", local, "mac", q.client.MAC.String())
		}
		return ""
	}
	return file
}

// told logs that a machine was told to boot.
func (r *responder) told(q *request, d Decision, file string) {
	if q.kind == dhcpv4.MessageTypeDiscover {
		r.s.say(slog.LevelInfo, "machine asks to boot", "mac", q.client.MAC.String(), "file", file, "verdict", d.Verdict)
	}
}
