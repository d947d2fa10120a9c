package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipcast/agent/hardware"
	"slipcast/agent/kmod"
	"slipcast/agent/uefi"
	"slipcast/agent/wire"
	"slipcast/internal/blockdev"
)

// A system is the machine that the agent runs on. It implements machine and
// handover.
type system struct {
	modules *kmod.Loader
	say     func(format string, args ...any)
	step    func(string)
	image   bool // it was started from a boot.img

	mu      sync.Mutex
	aliases []string
}

// Disks implements machine.
func (*system) Disks() ([]wire.Disk, error) {
	list, err := blockdev.List()
	if errors.Is(err, os.ErrNotExist) { // a kernel without any block device
		return nil, nil
	}
	return hardware.Disks(os.DirFS("/sys"), list), err
}

// Hold implements machine. Drivers give a number to the next disk only after the
// last descriptor of the one that had it is closed, even if that one is gone
// (sd.c, nvme core.c, virtio_blk.c, mmc block.c: free_disk and release).
func (*system) Hold(name string) (held, error) {
	return os.OpenFile("/dev/"+name, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// Inventory implements machine.
func (s *system) Inventory(context.Context) wire.Inventory {
	inv := hardware.Machine(hardware.Tree{Sys: os.DirFS("/sys"), Proc: os.DirFS("/proc"), Arch: arch()})
	disks, err := s.Disks()
	if err != nil {
		s.say("listing the disks: %v", err)
	}
	inv.Disks, inv.NICs = disks, nics()
	if inv.Disks == nil {
		inv.Disks = []wire.Disk{}
	}
	s.mu.Lock()
	inv.Modaliases = hardware.Modaliases(s.aliases)
	s.mu.Unlock()
	for _, note := range append(s.modules.Notes(), kernelNotes(kernelLog())...) {
		if len(inv.KernelNotes) < 64 {
			inv.KernelNotes = append(inv.KernelNotes, wire.Plain(note, wire.MaxField))
		}
	}
	return inv
}

func arch() string {
	if runtime.GOARCH == "amd64" {
		return "x64"
	}
	return runtime.GOARCH
}

// KernelLog implements machine.
func (*system) KernelLog(n int) []string {
	lines := kernelLog()
	return lines[max(0, len(lines)-n):]
}

// Wipe implements handover.
func (*system) Wipe(ctx context.Context, d wire.Disk, progress func(done, total int64)) error {
	return wipeDisk(ctx, "/dev/"+d.Name, d, progress)
}

// bootLocal makes the firmware boot the machine's own disk next, and tells whether
// it does. On BIOS the answer of the server does that.
func (s *system) bootLocal() bool {
	if !isUEFI() {
		return false
	}
	entry, ok, err := uefi.Mounted.BootLocal()
	switch {
	case err != nil:
		s.say("the firmware does not take which disk boots next: %v", err)
	case !ok:
		s.say("the firmware has no entry for a disk; it boots as it is set up")
	default:
		s.say("next boots %s", entry.Description)
		return true
	}
	return false
}

func isUEFI() bool {
	_, err := os.Stat("/sys/firmware/efi")
	return err == nil
}

// nics describes the machine's network interfaces.
func nics() []wire.NIC {
	return hardware.NICs(os.DirFS("/sys"), func(name string) string {
		mac, err := permanentMAC(name)
		if err != nil {
			return ""
		}
		return mac.String()
	})
}

// permanentMAC asks the driver of an interface for the address that it was made
// with (ethtool: ETHTOOL_GPERMADDR, linux/ethtool.h).
func permanentMAC(name string) (net.HardwareAddr, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	const getPermanent = 0x20
	query := struct {
		command, size uint32
		data          [32]byte
	}{command: getPermanent, size: 32}
	var ifr struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(ifr.name[:unix.IFNAMSIZ-1], name)
	ifr.data = unsafe.Pointer(&query)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&ifr)))
	runtime.KeepAlive(&query)
	if errno != 0 {
		return nil, errno
	}
	mac := net.HardwareAddr(query.data[:6])
	if query.size != 6 || mac.String() == "00:00:00:00:00:00" {
		return nil, errors.New("no permanent address")
	}
	return mac, nil
}

// wiredNICs returns the interfaces that a cable goes into, and switches them on.
func wiredNICs() []nic {
	sys := os.DirFS("/sys")
	list, _ := net.Interfaces()
	var out []nic
	for _, i := range list {
		if !hardware.Wired(sys, i.Name) {
			continue
		}
		if i.Flags&net.FlagUp == 0 && setUp(i.Index) != nil {
			continue // it may be gone, or not ready yet
		}
		out = append(out, nic{
			Name: i.Name, Index: i.Index, MAC: strings.ToLower(i.HardwareAddr.String()), Link: hardware.Carrier(sys, i.Name),
		})
	}
	return out
}

// coldplug loads the modules of all devices that there are.
func (s *system) coldplug(ctx context.Context) {
	aliases := s.modules.Coldplug(ctx, os.DirFS("/sys"), coldplugPause)
	s.mu.Lock()
	s.aliases = aliases
	s.mu.Unlock()
}

// hotplug loads the modules of devices that come later, until ctx is done.
func (s *system) hotplug(ctx context.Context) {
	err := kmod.Listen(ctx, func(u kmod.Uevent) {
		if alias := u.Env["MODALIAS"]; u.Action == "add" && alias != "" {
			s.modules.LoadAll([]string{alias})
			s.mu.Lock()
			s.aliases = append(s.aliases[:min(len(s.aliases), 8192)], alias)
			s.mu.Unlock()
		}
	})
	if err != nil {
		s.say("devices that come later are not seen: %v", err)
	}
}

// describeAddress names the network for people.
func describeAddress(c connection) string {
	return fmt.Sprintf("%s %s, from %s", c.nic.Name, c.lease.Prefix, c.lease.Server)
}
