package pxe

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
)

// FuzzMachinePath shows that a path which is understood says nothing else than
// what was understood of it: nothing gets into scripts by it.
func FuzzMachinePath(f *testing.F) {
	f.Add(testMAC + "/" + testUUID + "/grub.cfg")
	f.Add(testMAC + "/-/archive")
	f.Add(testMAC + "/boot.ipxe")
	f.Fuzz(func(t *testing.T, rest string) {
		c, file, ok := parseOwn(rest)
		if !ok {
			return
		}
		long := c.MAC.String() + "/" + orDash(c.UUID) + "/" + file
		if rest != long && rest != c.MAC.String()+"/boot.ipxe" {
			t.Errorf("%q is understood as %q", rest, long)
		}
	})
}

// FuzzFilePath shows that whatever is asked for, a file of one of the three
// folders is opened, or none.
func FuzzFilePath(f *testing.F) {
	f.Add("x64/grubx64.efi")
	f.Add("x64/../../etc/passwd")
	f.Add("bios/\xff")
	f.Fuzz(func(t *testing.T, name string) {
		local, ok := filePath(name)
		if !ok {
			return
		}
		dir, base, _ := strings.Cut(local, "/")
		if dir != "bios" && dir != "x64" && dir != "arm64" || base == "" || strings.ContainsAny(base, "/\x00") {
			t.Errorf("%q is the file %q", name, local)
		}
	})
}

// FuzzOffer shows that what other servers say is fit for a terminal, and only
// believed if it answers us.
func FuzzOffer(f *testing.F) {
	m := discoverMessage()
	f.Add(m.ToBytes())
	f.Fuzz(func(t *testing.T, p []byte) {
		o, ok := parseOffer(p, m)
		if ok && [4]byte(p[4:8]) != m.TransactionID {
			t.Errorf("%x is an answer to %x", p, m.TransactionID)
		}
		if garbled(strings.NewReplacer(" ", "_", "?", "_").Replace(o.file)) {
			t.Errorf("the file %q is not fit for a terminal", o.file)
		}
	})
}

// FuzzARP shows that a message of ARP is from the address that stands in it.
func FuzzARP(f *testing.F) {
	f.Add(arpProbe([]byte{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.83.0.9")))
	f.Fuzz(func(t *testing.T, p []byte) {
		a := arpFrom(p)
		if a.IsValid() && number(a) != binary.BigEndian.Uint32(p[14:]) {
			t.Errorf("%x is from %v", p, a)
		}
	})
}
