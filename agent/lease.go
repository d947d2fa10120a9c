package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// Bounds of DHCP.
const (
	dhcpTime  = 4 * time.Second // for one answer
	dhcpRetry = 3
	minLease  = 20 * time.Second // a lease is not renewed more often than at half of this
)

// A lease is an address for an interface.
type lease struct {
	Prefix  netip.Prefix
	Router  netip.Addr // not valid if there is none
	Server  netip.Addr
	Renew   time.Duration // from now
	granted *nclient4.Lease
}

// requestLease asks all DHCP servers on an interface for an address once, for
// at most half a minute.
func requestLease(ctx context.Context, name string) (lease, error) {
	c, err := nclient4.New(name, nclient4.WithTimeout(dhcpTime), nclient4.WithRetry(dhcpRetry))
	if err != nil {
		return lease{}, err
	}
	defer c.Close()
	granted, err := c.Request(ctx, dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter))
	if err != nil {
		return lease{}, dhcpError(err)
	}
	return readLease(granted)
}

// renewLease asks the server of a lease to keep it. It goes to all servers,
// which a renewal need not (RFC 2131, 4.4.5), but may once it is overdue.
func renewLease(ctx context.Context, name string, l lease) (lease, error) {
	c, err := nclient4.New(name, nclient4.WithTimeout(dhcpTime), nclient4.WithRetry(dhcpRetry))
	if err != nil {
		return lease{}, err
	}
	defer c.Close()
	granted, err := c.Renew(ctx, l.granted)
	if err != nil {
		return lease{}, dhcpError(err)
	}
	return readLease(granted)
}

func dhcpError(err error) error {
	if errors.Is(err, nclient4.ErrNoResponse) || errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no DHCP server answers")
	}
	return fmt.Errorf("DHCP: %w", err)
}

// readLease reads what a server granted (RFC 2131, 4.3.1; options of RFC 2132:
// 1 mask, 3 router, 51 and 58 times).
func readLease(granted *nclient4.Lease) (lease, error) {
	l := lease{granted: granted}
	if granted == nil || granted.ACK == nil {
		return l, errors.New("DHCP: an answer without an acknowledgement")
	}
	ack := granted.ACK
	ip, ok := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if !ok || !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLoopback() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return l, fmt.Errorf("DHCP: %v is no address for a machine", ack.YourIPAddr)
	}
	mask := ack.SubnetMask()
	if mask == nil {
		mask = net.IP(ip.AsSlice()).DefaultMask()
	}
	ones, bits := mask.Size()
	if bits != 32 || ones == 0 {
		return l, fmt.Errorf("DHCP: %s is no network mask", mask)
	}
	l.Prefix = netip.PrefixFrom(ip, ones)
	if routers := ack.Router(); len(routers) > 0 {
		if r, ok := netip.AddrFromSlice(routers[0].To4()); ok && l.Prefix.Contains(r) {
			l.Router = r
		}
	}
	if s, ok := netip.AddrFromSlice(ack.ServerIdentifier().To4()); ok {
		l.Server = s
	}
	whole := max(minLease, ack.IPAddressLeaseTime(time.Hour))
	l.Renew = whole / 2
	if t1 := ack.IPAddressRenewalTime(0); t1 >= minLease/2 && t1 < whole {
		l.Renew = t1
	}
	return l, nil
}
