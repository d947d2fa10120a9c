package pxe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Severity says how bad a finding is.
type Severity string

// The severities.
const (
	Note    Severity = "note"    // good to know
	Warning Severity = "warning" // some machines may not boot
	Fatal   Severity = "fatal"   // nothing boots
)

// A Finding is something about the host or the network that somebody who
// wants machines to boot should know.
type Finding struct {
	Severity Severity
	Text     string // what it is: a sentence without a full stop
	Way      string // a way out, likewise; empty if it needs none
}

// Check looks at the host and the network as Serve would need them, and
// returns what it found, the worst first within each subject. It asks the
// network for DHCP servers with a request of a machine that does not exist,
// and takes about four seconds. It is to be called before Serve: what Serve
// itself holds is taken. The fields have to be those that Serve gets. ctx ends
// it early.
func (s *Server) Check(ctx context.Context) []Finding {
	if err := s.valid(); err != nil {
		return []Finding{{Fatal, err.Error(), "correct the configuration"}}
	}
	found := s.checkInterface()
	if len(found) > 0 && found[0].Severity == Fatal {
		return append(found, s.checkFolder()...) // no port can be had, and no server be heard
	}
	found = append(found, s.checkFolder()...)
	found = append(found, s.checkPorts()...)
	return append(found, s.checkServers(ctx)...)
}

// checkInterface looks at the interface.
func (s *Server) checkInterface() []Finding {
	ifi, err := net.InterfaceByName(s.Interface)
	if err != nil {
		return []Finding{{Fatal, fmt.Sprintf("interface %s: %v", s.Interface, err), "name one that ip link shows"}}
	}
	if ifi.Flags&net.FlagUp == 0 {
		return []Finding{{Fatal, "interface " + s.Interface + " is down", "ip link set " + s.Interface + " up"}}
	}
	addrs, err := ifi.Addrs()
	if err != nil {
		return []Finding{{Fatal, fmt.Sprintf("interface %s: %v", s.Interface, err), ""}}
	}
	var found []Finding
	has := false
	for _, a := range addrs {
		has = has || a.String() == s.Address.String()
	}
	if !has {
		found = append(found, Finding{Fatal, fmt.Sprintf("interface %s does not have the address %v", s.Interface, s.Address),
			fmt.Sprintf("ip addr add %v dev %s, or name an address that it has", s.Address, s.Interface)})
	}
	if ifi.Flags&net.FlagRunning == 0 {
		found = append(found, Finding{Warning, "interface " + s.Interface + " has no link", "look at the cable and the switch"})
	}
	return found
}

// firstFiles are what an architecture cannot do without. A BIOS goes on with
// the kernel of x64.
func firstFiles(a Arch) []string {
	if a == BIOS {
		return []string{"bios/undionly.kpxe", "x64/linux", "x64/initrd"}
	}
	dir := string(a) + "/"
	return []string{dir + "shim.efi", dir + "grub.efi", dir + "linux", dir + "initrd"}
}

// checkFolder looks at the boot folder.
func (s *Server) checkFolder() []Finding {
	const build = "make it with slipcast boot build"
	if _, err := os.Stat(s.Folder); err != nil {
		return []Finding{{Fatal, fmt.Sprintf("there is no boot folder, so that nothing boots: %v", err), build}}
	}
	var found []Finding
	text, err := os.ReadFile(filepath.Join(s.Folder, "boot.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		found = append(found, Finding{Warning, "the boot folder " + s.Folder + " has no boot.json: it is not complete", build})
	case err != nil:
		found = append(found, Finding{Warning, err.Error(), build})
	case !json.Valid(text):
		found = append(found, Finding{Warning, filepath.Join(s.Folder, "boot.json") + " is damaged", build})
	}
	whole := false
	for _, a := range []Arch{BIOS, X64, ARM64} {
		lacks := s.lacks(a)
		whole = whole || len(lacks) == 0
		found = append(found, judgeArch(a, lacks)...)
	}
	if !whole {
		return []Finding{{Fatal, "the boot folder " + s.Folder + " has all that it takes for no kind of machine, so that nothing boots", build}}
	}
	return found
}

// lacks returns what the boot folder does not have of an architecture.
func (s *Server) lacks(a Arch) []string {
	return slices.DeleteFunc(firstFiles(a), s.has)
}

// judgeArch says what it means that files of an architecture are not there.
func judgeArch(a Arch, lacks []string) []Finding {
	const build = "make it with slipcast boot build"
	switch all := firstFiles(a); {
	case len(lacks) == 0:
		return nil
	case lacks[0] != all[0]:
		return []Finding{{Warning, fmt.Sprintf("the boot folder lacks %s: what %s starts does not get far", strings.Join(lacks, ", "), a), build}}
	case a == ARM64:
		return []Finding{{Note, "the boot folder has nothing for arm64: such machines are not answered", "slipcast boot build --arch arm64, if you have any"}}
	}
	return []Finding{{Warning, fmt.Sprintf("the boot folder has no loader for %s: such machines are not answered", a), build}}
}

// checkPorts tries the ports.
func (s *Server) checkPorts() []Finding {
	sockets, err := s.listen()
	var taken *PortError
	switch {
	case err == nil:
		sockets.close()
		return nil
	case !errors.As(err, &taken):
		return []Finding{{Fatal, err.Error(), "run it as root"}}
	}
	way := "stop it, or let slipcast use another host"
	if taken.Port == s.ports().DHCP && taken.Network == "udp" {
		way = "if it is this network's DHCP server, give it the lines that slipcast serve --check --dhcp off prints, and use dhcp: off; if it is another boot server, stop it"
	}
	return []Finding{{Fatal, taken.Error(), way}}
}
