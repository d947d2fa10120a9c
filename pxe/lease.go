package pxe

import (
	"context"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// How long addresses are given for, docs/boot.md, section 3.
const (
	targetedLife = 10 * time.Minute
	fullLife     = time.Hour
)

// lease answers a request with an address, or as RFC 2131, section 4.3, says
// for what is no longer wanted. nil is no answer.
func (r *responder) lease(ctx context.Context, q *request) *dhcpv4.DHCPv4 {
	if relay := q.relay(); relay.IsValid() && !r.s.Address.Contains(relay) {
		return nil // the pool is of our network
	}
	switch q.kind {
	case dhcpv4.MessageTypeDiscover:
		a, ok := r.leases.offer(ctx, q.client.MAC, q.requested())
		if !ok {
			return nil
		}
		m := r.s.answer(q, dhcpv4.MessageTypeOffer)
		m.YourIPAddr = a.AsSlice()
		r.addNetwork(m, true)
		return m
	case dhcpv4.MessageTypeRequest:
		return r.leaseRequest(q)
	case dhcpv4.MessageTypeDecline:
		if q.server() == r.s.addr() && r.leases.decline(q.client.MAC, q.requested()) {
			r.s.counters.declined.Add(1)
		}
	case dhcpv4.MessageTypeRelease:
		if q.server() == r.s.addr() {
			r.leases.release(q.client.MAC, q.own())
		}
	case dhcpv4.MessageTypeInform:
		if r.s.mode() == Full && q.own().IsValid() {
			m := r.s.answer(q, dhcpv4.MessageTypeAck)
			r.addNetwork(m, false)
			return m
		}
	}
	return nil
}

// leaseRequest answers a request for an address (RFC 2131, section 4.3.2).
func (r *responder) leaseRequest(q *request) *dhcpv4.DHCPv4 {
	if chosen := q.server(); chosen.IsValid() && chosen != r.s.addr() {
		r.leases.forget(q.client.MAC)
		return nil
	}
	wanted := q.requested()
	got, err := r.leases.take(q.client.MAC, wanted)
	switch {
	case err != nil:
		r.s.log().Error("address is not given", "mac", q.client.MAC.String(), "err", err)
		return nil
	case got == granted:
		m := r.s.answer(q, dhcpv4.MessageTypeAck)
		m.YourIPAddr = wanted.AsSlice()
		r.addNetwork(m, true)
		return m
	case got == refused, r.s.mode() == Full && !r.s.Address.Contains(wanted):
		m := r.s.answer(q, dhcpv4.MessageTypeNak)
		m.SetBroadcast() // RFC 2131, section 4.3.2: so that a relay passes it on
		m.ClientIPAddr = nil
		return m
	}
	return nil // of a server that we do not know
}

// addNetwork adds what a client must know of the network, and for how long,
// if it is given an address.
func (r *responder) addNetwork(m *dhcpv4.DHCPv4, lease bool) {
	s := r.s
	m.UpdateOption(dhcpv4.OptSubnetMask(net.CIDRMask(s.Address.Bits(), 32)))
	m.UpdateOption(dhcpv4.OptBroadcastAddress(broadcast(s.Address).AsSlice()))
	if s.Router.Is4() {
		m.UpdateOption(dhcpv4.OptRouter(s.Router.AsSlice()))
	}
	var dns []net.IP
	for _, a := range s.DNS {
		if a.Is4() && len(dns) < maxDNS {
			dns = append(dns, a.AsSlice())
		}
	}
	if len(dns) > 0 {
		m.UpdateOption(dhcpv4.OptDNS(dns...))
	}
	if !lease {
		return
	}
	life := r.leases.life
	m.UpdateOption(dhcpv4.OptIPAddressLeaseTime(life))
	m.UpdateOption(dhcpv4.OptRenewTimeValue(life / 2))
	m.UpdateOption(dhcpv4.OptRebindingTimeValue(life * 7 / 8))
}

// maxDNS is how many name servers are told.
const maxDNS = 3
