package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"slipcast/agent/kmod"
	"slipcast/agent/wire"
)

// Bounds of what the kernel does for us.
const (
	entropyWait = 30 * time.Second // to have randomness of its own, without a seed
	syncWait    = 30 * time.Second // to bring to the disks what it has not yet
)

// mountAll mounts what the kernel offers, so that this process has /dev, /proc
// and /sys. What is mounted already stays.
func mountAll() error {
	var errs []error
	for _, m := range []struct{ kind, at, options string }{
		{"proc", "/proc", ""}, {"sysfs", "/sys", ""}, {"devtmpfs", "/dev", "mode=0755"},
		{"tmpfs", "/run", "mode=0755"}, {"tmpfs", "/tmp", "mode=1777"}, {"devpts", "/dev/pts", "mode=0620"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			errs = append(errs, err)
		}
		err := unix.Mount(m.kind, m.at, m.kind, unix.MS_NOSUID, m.options)
		if err != nil && !errors.Is(err, unix.EBUSY) {
			errs = append(errs, fmt.Errorf("mounting %s on %s: %w", m.kind, m.at, err))
		}
	}
	return errors.Join(errs...)
}

// mountVariables mounts the firmware's variables, if there are any.
func mountVariables(load func(module string) error) error {
	if _, err := os.Stat("/sys/firmware/efi"); err != nil {
		return nil
	}
	loading := load("efivarfs") // counts if it is not there without
	err := unix.Mount("efivarfs", "/sys/firmware/efi/efivars", "efivarfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mounting efivarfs: %w", errors.Join(err, loading))
	}
	return nil
}

// settle sets what this kernel should do by itself: say little on the consoles,
// start anew half a minute after a panic, and ask this program for modules.
func settle() {
	for _, s := range []struct{ file, text string }{
		{"/proc/sys/kernel/printk", "1 4 1 7"}, {"/proc/sys/kernel/panic", "30"},
		{"/proc/sys/kernel/modprobe", modprobePath}, {"/proc/sys/kernel/hotplug", ""},
		{"/proc/sys/net/ipv4/conf/all/rp_filter", "0"},
	} {
		os.WriteFile(s.file, []byte(s.text), 0o644) // what this kernel has not, it does not need
	}
	os.MkdirAll(filepath.Dir(modprobePath), 0o755)
	os.Symlink("/init", modprobePath)
}

// modprobePath is what the kernel calls for a module that it lacks, such as the
// code page of a file system (sysctl kernel.modprobe). It leads to this
// program.
const modprobePath = "/sbin/modprobe"

// Modprobe loads the modules that the kernel asks for when it calls
// /sbin/modprobe -q -- NAME... in the boot environment, and returns the exit
// code.
func Modprobe(args []string) int {
	modules, err := openModules()
	if err != nil {
		return 1
	}
	code := 0
	for _, name := range args {
		if name != "" && name[0] != '-' && modules.Load(name) != nil {
			code = 1
		}
	}
	return code
}

// openModules reads the index of the running kernel's modules.
func openModules() (*kmod.Loader, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	folder := filepath.Join("/lib/modules", unix.ByteSliceToString(u.Release[:]))
	index, err := kmod.ReadIndex(os.DirFS(folder))
	if err != nil {
		return nil, fmt.Errorf("modules of %s: %w", folder, err)
	}
	return kmod.NewLoader(index, kmod.Insert(folder)), nil
}

// errNoRandomness reports a kernel whose randomness nobody may rely on.
var errNoRandomness = fmt.Errorf("the kernel has no randomness after %s, and there is no seed", entropyWait)

// addEntropy makes sure that the kernel has randomness: whoever asks for it
// before hangs (random(4)). It gives the kernel the seed of the server and
// removes it. Without one it stirs in what tells this machine and moment apart,
// which counts for nothing, and waits: the kernel makes randomness of the timing of
// its processor while somebody waits (random.c: try_to_generate_entropy), but
// not while somebody merely asks whether there is any.
func addEntropy(seedPath string) error {
	seed, err := os.ReadFile(seedPath)
	if err == nil && len(seed) == wire.SeedSize {
		os.Remove(seedPath)
		if credit(seed) == nil {
			return nil
		}
	}
	stir()
	wait := func() {
		for {
			if _, err := unix.Getrandom(make([]byte, 1), 0); !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}
	if !within(entropyWait, wait) {
		return errNoRandomness
	}
	return nil
}

// stir mixes what differs between machines and moments into the kernel's
// randomness, without credit.
func stir() {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	f.Write(binary.NativeEndian.AppendUint64(nil, uint64(time.Now().UnixNano())))
	for _, name := range []string{
		"/sys/class/dmi/id/product_uuid", "/sys/class/dmi/id/product_serial", "/proc/interrupts", "/proc/stat", "/proc/iomem",
	} {
		text, _ := os.ReadFile(name)
		f.Write(text) // whatever is there helps, and nothing of it is needed
	}
}

// credit gives the kernel p as randomness (struct rand_pool_info of
// linux/random.h: bits, bytes, and the bytes).
func credit(p []byte) error {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info := binary.NativeEndian.AppendUint32(nil, uint32(len(p)*8))
	info = binary.NativeEndian.AppendUint32(info, uint32(len(p)))
	info = append(info, p...)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0])))
	if errno != 0 {
		return fmt.Errorf("giving the kernel a seed: %w", errno)
	}
	return nil
}

// setClock sets the machine's clock.
func setClock(t time.Time) {
	ts := unix.NsecToTimespec(t.UnixNano())
	unix.ClockSettime(unix.CLOCK_REALTIME, &ts) // a wrong one spoils the log alone
}

// setName sets the kernel's host name, by which a sender of images tells people
// which machine this is.
func setName(name string) error {
	return os.NewSyscallError("sethostname", unix.Sethostname([]byte(name)))
}

// endMachine ends the machine. It returns only if the kernel refuses.
func endMachine(end wire.End) {
	within(syncWait, unix.Sync) // a disk that hangs does not keep the machine
	command := unix.LINUX_REBOOT_CMD_RESTART
	if end == wire.PowerOff {
		command = unix.LINUX_REBOOT_CMD_POWER_OFF
	}
	unix.Reboot(command) // nobody is left who could be told
}
