package fresh

import (
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// A remain is what the machine of the image left behind, and a clone must not
// have.
type remain struct {
	folder  string
	pattern string // as in path.Match, of the names in it
	all     bool   // folders and links as well, not only plain files
}

// remains are removed. Each is something that its owner makes again:
//
//   - random-seed: two systems must not start from the same one; credential.secret:
//     the key that systemd-creds(1) encrypts for this machine alone. Both are in the
//     list of systemd's "Safely Building Images" (systemd.io/BUILDING_IMAGES).
//   - leases of dhclient (dhclient.leases(5); dhclient in Red Hat's place), dhcpcd(8)
//     and NetworkManager: the client asks for the address that it had, so that all clones
//     would ask for the same one, and those for IPv6 and dhcpcd's duid hold the
//     identity that must be one machine's alone (RFC 8415, section 11). systemd-networkd keeps
//     its leases in /run and so leaves none.
//   - 70-persistent-net.rules: names by MAC address, written by udev before version 197; the
//     interface of a clone would come after that of the image's machine.
//   - the state of cloud-init by instance, as `cloud-init clean` removes it from an image;
//     with it, what is due once for each instance would not happen on a clone.
func remains() []remain {
	return []remain{
		{folder: "var/lib/systemd", pattern: "random-seed"},
		{folder: "var/lib/systemd", pattern: "credential.secret"},
		{folder: "var/lib/dhcp", pattern: "*"},
		{folder: "var/lib/dhclient", pattern: "*"},
		{folder: "var/lib/dhcpcd", pattern: "*"},
		{folder: "var/lib/NetworkManager", pattern: "*.lease"},
		{folder: "etc/udev/rules.d", pattern: "70-persistent-net.rules"},
		{folder: "var/lib/cloud", pattern: "instance", all: true},
		{folder: "var/lib/cloud", pattern: "instances", all: true},
		{folder: "var/lib/cloud/data", pattern: "*"},
	}
}

// forget removes a remain from its folder, in the order of the names.
func (s *system) forget(d *folder, r remain) {
	names, err := d.names()
	s.try(err)
	slices.Sort(names)
	for _, name := range names {
		if ok, _ := path.Match(r.pattern, name); !ok {
			continue
		}
		st, err := d.stat(name)
		if err != nil {
			s.try(err)
			continue
		}
		if r.all || st.Mode&unix.S_IFMT == unix.S_IFREG {
			s.drop(d, name)
		}
	}
}
