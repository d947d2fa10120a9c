package multicast

import (
	"net/netip"
	"testing"
)

func TestIsSSM(t *testing.T) {
	for addr, want := range map[string]bool{
		"232.0.0.0":       true,
		"232.255.255.255": true,
		"231.255.255.255": false,
		"239.232.0.1":     false,
		"ff35::1":         true,
		"ff3e::8000:1":    true,
		"ff35:40::1":      false, // unicast-prefix-based, RFC 3306
		"ff15::1":         false,
		"ff02::1":         false,
	} {
		if got := isSSM(netip.MustParseAddr(addr)); got != want {
			t.Errorf("isSSM(%s) = %v, want %v", addr, got, want)
		}
	}
}
