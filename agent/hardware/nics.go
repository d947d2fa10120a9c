package hardware

import (
	"io/fs"
	"path"
	"strings"

	"slipcast/agent/wire"
)

// maxNICs is how many network interfaces an inventory has at most.
const maxNICs = 64

// NICs describes the wired network interfaces in sys: those that a device
// stands behind and that speak Ethernet (ARPHRD_ETHER), without wireless ones.
// permanent returns the address that an interface was made with; nil, or an
// empty answer, takes the one that it has now, which a dock may have changed.
func NICs(sys fs.FS, permanent func(name string) string) []wire.NIC {
	list := []wire.NIC{}
	for _, name := range names(sys, "class/net") {
		if !Wired(sys, name) || len(list) == maxNICs {
			continue
		}
		nic := wire.NIC{Name: clean(name), MAC: strings.ToLower(attr(sys, "class/net", name, "address"))}
		if permanent != nil {
			if mac := strings.ToLower(permanent(name)); mac != "" {
				nic.MAC = mac
			}
		}
		device := resolve(sys, path.Join(resolve(sys, path.Join("class/net", name)), "device"))
		nic.Driver = clean(path.Base(resolve(sys, path.Join(device, "driver"))))
		if nic.Driver == "driver" {
			nic.Driver = ""
		}
		nic.Bus = busOf(sys, name, device)
		nic.Link = Carrier(sys, name)
		if mbit := number(sys, "class/net", name, "speed"); mbit > 0 {
			nic.Speed = int(min(mbit, 1<<30))
		}
		list = append(list, nic)
	}
	return list
}

// Wired tells whether a network interface is one that a cable goes into.
func Wired(sys fs.FS, name string) bool {
	dir := path.Join("class/net", name)
	if number(sys, dir, "type") != 1 {
		return false
	}
	for file, want := range map[string]bool{"device": true, "wireless": false, "phy80211": false} {
		if _, err := fs.Stat(sys, path.Join(dir, file)); (err == nil) != want {
			return false
		}
	}
	return true
}

// Carrier tells whether an interface that is up has a link.
func Carrier(sys fs.FS, name string) bool {
	return number(sys, "class/net", name, "carrier") == 1
}

// busOf returns usb for everything that is plugged into that, wherever it is
// attached then, else the bus of the device.
func busOf(sys fs.FS, name, device string) string {
	if strings.Contains(resolve(sys, path.Join("class/net", name)), "/usb") {
		return "usb"
	}
	bus := path.Base(resolve(sys, path.Join(device, "subsystem")))
	if bus == "subsystem" {
		return ""
	}
	return clean(bus)
}
