package sandbox

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A limit bounds how many processes there are, by a group of the kernel's
// controller "pids". A nil one does nothing.
type limit struct {
	top  *os.File // of the hierarchy of groups
	name string
}

// newLimit makes a group for at most n processes and threads.
func newLimit(n int) (*limit, error) {
	top, err := pidsHierarchy()
	if err != nil {
		return nil, err
	}
	removeStale(top)
	l := &limit{top: top, name: groupName()}
	if err := unix.Mkdirat(int(top.Fd()), l.name, 0o755); err != nil {
		top.Close()
		return nil, err
	}
	if err := l.write("pids.max", n); err != nil {
		l.remove()
		return nil, err
	}
	return l, nil
}

// pidsHierarchy opens the top of the hierarchy that has the controller: the
// unified one (version 2) or its own (version 1). It is mounted with no place in
// any folder, so that it does not matter where the system has it.
func pidsHierarchy() (*os.File, error) {
	v2, err := detachedGroups("cgroup2", "")
	if err == nil {
		if err = enablePids(v2); err == nil {
			return v2, nil
		}
		v2.Close()
	}
	v1, err1 := detachedGroups("cgroup", "pids")
	if err1 != nil {
		return nil, errors.Join(err, err1)
	}
	return v1, nil
}

// detachedGroups mounts a hierarchy of groups.
func detachedGroups(fsType, controller string) (*os.File, error) {
	fs, err := unix.Fsopen(fsType, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	if controller != "" {
		if err := unix.FsconfigSetFlag(fs, controller); err != nil {
			return nil, err
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, err
	}
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(mnt), fsType), nil
}

// enablePids makes groups of version 2 count processes.
func enablePids(top *os.File) error {
	has, err := readAt(top, "cgroup.controllers")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(has) {
		if name == "pids" {
			return writeAt(top, "cgroup.subtree_control", "+pids")
		}
	}
	return fmt.Errorf("cgroup2 without the controller pids: %w", unix.ENOTSUP)
}

// groupPrefix begins the names of our groups.
const groupPrefix = "slipcast-"

// groupName returns a name that nobody else has.
func groupName() string { return fmt.Sprintf("%s%d-%x", groupPrefix, os.Getpid(), rand.Uint64()) }

// removeStale removes the empty groups of processes that were killed.
func removeStale(top *os.File) {
	dir, err := unix.Openat(int(top.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(dir), ".")
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	for _, name := range names {
		rest, ours := strings.CutPrefix(name, groupPrefix)
		pid, _, _ := strings.Cut(rest, "-")
		n, err := strconv.Atoi(pid)
		if ours && err == nil && errors.Is(unix.Kill(n, 0), unix.ESRCH) {
			unix.Unlinkat(int(top.Fd()), name, unix.AT_REMOVEDIR)
		}
	}
}

// add puts a process, and all that it will start, into the group.
func (l *limit) add(pid int) error {
	if l == nil {
		return nil
	}
	return l.write("cgroup.procs", pid)
}

// remove removes the group, which has no process any more.
func (l *limit) remove() {
	if l == nil {
		return
	}
	unix.Unlinkat(int(l.top.Fd()), l.name, unix.AT_REMOVEDIR) // one that stays is removed by the next process
	l.top.Close()
}

func (l *limit) write(file string, n int) error {
	return writeAt(l.top, filepath.Join(l.name, file), strconv.Itoa(n))
}

func writeAt(top *os.File, name, text string) error {
	fd, err := unix.Openat(int(top.Fd()), name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func readAt(top *os.File, name string) (string, error) {
	fd, err := unix.Openat(int(top.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	defer unix.Close(fd)
	text := make([]byte, 4096)
	n, err := unix.Read(fd, text)
	return string(text[:max(n, 0)]), err
}
