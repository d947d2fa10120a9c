package pxe

import (
	"errors"
	"fmt"
)

// Errors that callers branch on.
var (
	// ErrPortTaken reports a port that another program on this host has.
	ErrPortTaken = errors.New("port is taken")

	// ErrMalformed reports a datagram that is not a DHCP request.
	ErrMalformed = errors.New("malformed request")
)

// A PortError says which port cannot be had, and by whom it is taken. It
// wraps [ErrPortTaken].
type PortError struct {
	Network string // udp or tcp
	Port    uint16
	By      string // what /proc says of who has it, as "dnsmasq (process 812)"; empty if it does not
}

func (e *PortError) Error() string {
	if e.By == "" {
		return fmt.Sprintf("%s port %d: %v", e.Network, e.Port, ErrPortTaken)
	}
	return fmt.Sprintf("%s port %d: %v by %s", e.Network, e.Port, ErrPortTaken, e.By)
}

// Unwrap implements errors.Unwrap.
func (e *PortError) Unwrap() error { return ErrPortTaken }
