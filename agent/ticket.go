package agent

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"slipcast/agent/wire"
)

// maxServers is how many servers a ticket may name.
const maxServers = 16

// ParseTicket reads and checks a ticket, docs/boot.md, section 5.
func ParseTicket(p []byte) (wire.Ticket, error) {
	var t wire.Ticket
	if len(p) > wire.MaxBody {
		return t, fmt.Errorf("ticket: %d bytes are too many", len(p))
	}
	if err := json.Unmarshal(p, &t); err != nil {
		return t, fmt.Errorf("ticket: %w", err)
	}
	if err := checkTicket(t); err != nil {
		return t, fmt.Errorf("ticket: %w", err)
	}
	return t, nil
}

func checkTicket(t wire.Ticket) error {
	if t.Schema != wire.Schema {
		return fmt.Errorf("its schema is %d, this agent knows %d", t.Schema, wire.Schema)
	}
	if _, err := parsePin(t.Pin); err != nil {
		return err
	}
	if len(t.Servers) == 0 || len(t.Servers) > maxServers {
		return fmt.Errorf("it names %d servers", len(t.Servers))
	}
	for _, s := range t.Servers {
		if _, err := serverAddr(s); err != nil {
			return err
		}
	}
	if t.MAC != "" {
		if _, err := net.ParseMAC(t.MAC); err != nil {
			return err
		}
	}
	return nil
}

// parsePin reads a SHA-256 in hexadecimal.
func parsePin(s string) (pin [32]byte, err error) {
	p, err := hex.DecodeString(s)
	if err != nil || len(p) != len(pin) {
		return pin, errors.New("its pin is no SHA-256 in hexadecimal")
	}
	return [32]byte(p), nil
}

// serverAddr returns the address and port of a server's URL. There are no
// names: a boot environment has no DNS.
func serverAddr(s string) (netip.AddrPort, error) {
	u, err := url.Parse(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil || u.Scheme != "https" || u.Path != "" || u.User != nil || u.RawQuery != "" {
		return netip.AddrPort{}, fmt.Errorf("server %q is not https://ADDRESS:PORT", s)
	}
	port := uint64(443)
	if u.Port() != "" {
		if port, err = strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
			return netip.AddrPort{}, fmt.Errorf("server %q has no port", s)
		}
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}
