package wire

import (
	"net"
	"strings"
)

// MAC returns an address as 00:00:5e:00:53:01, and nothing for what is no
// address of a machine. Both ends call a machine by it in a proof.
func MAC(text string) string {
	mac, err := net.ParseMAC(strings.TrimSpace(text))
	if err != nil || len(mac) != 6 || mac[0]&1 != 0 || [6]byte(mac) == [6]byte{} {
		return ""
	}
	return mac.String()
}
