package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// keptCapabilities are those that a package manager and its scripts need; see
// capabilities(7). All others are given up for good, among them:
//
//   - SYS_ADMIN, SYS_CHROOT's big sister: mounts, namespaces
//   - DAC_READ_SEARCH: opens files by handle, past the root
//   - MKNOD: a device of its own would be the way to the disks
//   - SYS_MODULE, SYS_RAWIO, SYS_BOOT, SYS_TIME, SYSLOG, BPF, PERFMON: they
//     change or read the kernel, which is not the root's
//   - NET_ADMIN, NET_RAW, NET_BIND_SERVICE: with Net the network is the machine's
//   - SYS_PTRACE, SYS_NICE, SYS_RESOURCE, IPC_LOCK: other processes, and the limits
//   - LINUX_IMMUTABLE: a file that nobody can remove could not be undone
//   - AUDIT_WRITE, AUDIT_CONTROL, MAC_ADMIN, MAC_OVERRIDE: the machine's logs and rules
//   - SETPCAP: nothing is to be regained
func keptCapabilities() []uintptr {
	return []uintptr{
		unix.CAP_CHOWN,        // dpkg gives files their owners
		unix.CAP_DAC_OVERRIDE, // and writes where it has no permission
		unix.CAP_FOWNER,       // and changes what belongs to others
		unix.CAP_FSETID,       // and keeps setuid and setgid bits
		unix.CAP_SETFCAP,      // setcap(8), as in the scripts of iputils-ping
		unix.CAP_SETUID,       // su, runuser: as in the scripts of man-db
		unix.CAP_SETGID,
		unix.CAP_KILL,       // processes that run as somebody else
		unix.CAP_SYS_CHROOT, // rpm and initramfs-tools use chroot(2); the way back leads to the same tree
	}
}

// giveUp takes all other capabilities from what this thread will start, and
// closes this process to it.
func giveUp() error {
	kept := make(map[uintptr]bool)
	for _, c := range keptCapabilities() {
		kept[c] = true
	}
	for c := uintptr(0); ; c++ {
		if kept[c] {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // this kernel has no more
		}
		if err != nil {
			return fmt.Errorf("giving up capability %d: %w", c, err)
		}
	}
	if err := inheritNothing(); err != nil {
		return fmt.Errorf("giving up what is inherited: %w", err)
	}
	// Not even a debugger: this process has more capabilities.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("closing this process: %w", err)
	}
	unix.Umask(0o022)
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// inheritNothing clears the inheritable capabilities of this thread, and with
// them the ambient ones: only the bounding set counts for what root starts.
func inheritNothing() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Inheritable, data[1].Inheritable = 0, 0
	return unix.Capset(&header, &data[0])
}
