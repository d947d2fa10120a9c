package pxe

import (
	"bytes"
	"encoding/hex"
	"net"
	"strings"
	"testing"
)

func TestMagic(t *testing.T) {
	mac, err := net.ParseMAC(testMAC)
	if err != nil {
		t.Fatal(err)
	}
	for _, password := range []string{"", "\x01\x02\x03\x04", "\x01\x02\x03\x04\x05\x06"} {
		p, err := magic(mac, []byte(password))
		want, _ := hex.DecodeString(strings.Repeat("ff", 6) + strings.Repeat("525400123456", 16))
		if err != nil || !bytes.Equal(p, append(want, password...)) {
			t.Errorf("magic with password %x = %x, %v, want %x and the password", password, p, err, want)
		}
	}
	if p, err := magic(mac, []byte("12345")); err == nil {
		t.Errorf("magic with a password of 5 bytes = %x, want an error", p)
	}
	for _, bad := range []net.HardwareAddr{nil, {1, 2, 3, 4, 5, 6}, make(net.HardwareAddr, 6), make(net.HardwareAddr, 8)} {
		if p, err := magic(bad, nil); err == nil {
			t.Errorf("magic for %v = %x, want an error", bad, p)
		}
	}
}
