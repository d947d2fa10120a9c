package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A node is a device in /dev.
type node struct {
	name         string
	mode         uint32
	major, minor uint32 // Documentation/admin-guide/devices.txt of Linux
}

// nodes hurt nobody.
func nodes() []node {
	return []node{
		{"null", 0o666, 1, 3}, {"zero", 0o666, 1, 5}, {"full", 0o666, 1, 7}, {"random", 0o666, 1, 8}, {"urandom", 0o666, 1, 9}, {"tty", 0o666, 5, 0},
	}
}

// dev furnishes /dev.
func (r *room) dev() error {
	if err := r.mount("tmpfs", "dev", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=1m"); err != nil {
		return err
	}
	dir, err := r.at("dev")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := fillDev(dir); err != nil {
		return fmt.Errorf("making dev: %w", err)
	}
	return errors.Join(
		r.mount("devpts", "dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"),
		r.mount("tmpfs", "dev/shm", hardened, "mode=1777,size=64m"))
}

// fillDev makes what is in an empty /dev.
func fillDev(dir *os.File) error {
	for _, n := range nodes() {
		if err := n.make(dir); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
	}
	for name, text := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := unix.Symlinkat(text, int(dir.Fd()), name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := unix.Mkdirat(int(dir.Fd()), name, 0o755); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// make makes the device, whatever the umask says.
func (n node) make(dir *os.File) error {
	if err := unix.Mknodat(int(dir.Fd()), n.name, unix.S_IFCHR|n.mode, int(unix.Mkdev(n.major, n.minor))); err != nil {
		return err
	}
	return unix.Fchmodat(int(dir.Fd()), n.name, n.mode, 0)
}
