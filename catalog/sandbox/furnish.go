package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

// What is mounted over files of the tree.
const (
	policyPath = "usr/sbin/policy-rc.d"
	resolvPath = "etc/resolv.conf"
)

// policyText refuses to start or stop any service: exit code 101 of the
// interface that invoke-rc.d(8) asks.
const policyText = "#!/bin/sh\nexit 101\n"

// hardened are the flags of what is mounted for programs to see and not to run.
const hardened = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// A room is the tree that is being furnished.
type room struct{ *orders }

// furnish mounts what a program needs into the tree, and makes the tree the
// root of this mount namespace.
func (s *orders) furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	r := &room{s}
	for _, step := range []func() error{r.dev, r.folders, r.files, r.configuration, r.kernel} {
		if err := step(); err != nil {
			return err
		}
	}
	if err := unix.Sethostname([]byte("localhost")); err != nil {
		return fmt.Errorf("naming the machine: %w", err)
	}
	return r.enter()
}

// at opens what lies at a path of the tree, links followed inside of it.
func (r *room) at(name string) (*os.File, error) {
	top, err := os.OpenFile(r.Merged, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	return pathrs.OpenatInRoot(top, name)
}

// mount mounts a new file system at a path of the tree.
func (r *room) mount(fsType, name string, flags uintptr, data string) error {
	f, err := r.at(name)
	if err == nil {
		defer f.Close()
		err = unix.Mount(fsType, inProc(f), fsType, flags, data)
	}
	if err != nil {
		return fmt.Errorf("mounting %s: %w", name, err)
	}
	return nil
}

// bind shows a file or folder from outside, or of the tree itself, at a path of
// the tree. The flags are added to what it is mounted with.
func (r *room) bind(source *os.File, name string, flags uintptr) error {
	err := r.bindOnce(source, name)
	if err == nil && flags != 0 {
		var f *os.File
		if f, err = r.at(name); err == nil { // the new mount
			defer f.Close()
			err = unix.Mount("", inProc(f), "", unix.MS_REMOUNT|unix.MS_BIND|flags, "")
		}
	}
	if err != nil {
		return fmt.Errorf("mounting %s: %w", name, err)
	}
	return nil
}

func (r *room) bindOnce(source *os.File, name string) error {
	f, err := r.at(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Mount(inProc(source), inProc(f), "", unix.MS_BIND, "")
}

// A node is a device in /dev.
type node struct {
	name         string
	mode         uint32
	major, minor uint32 // Documentation/admin-guide/devices.txt of Linux
}

// dev furnishes /dev with what hurts nobody.
func (r *room) dev() error {
	if err := r.mount("tmpfs", "dev", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=1m"); err != nil {
		return err
	}
	dir, err := r.at("dev")
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, n := range []node{
		{"null", 0o666, 1, 3}, {"zero", 0o666, 1, 5}, {"full", 0o666, 1, 7}, {"random", 0o666, 1, 8}, {"urandom", 0o666, 1, 9}, {"tty", 0o666, 5, 0},
	} {
		if err := unix.Mknodat(int(dir.Fd()), n.name, unix.S_IFCHR|n.mode, int(unix.Mkdev(n.major, n.minor))); err != nil {
			return fmt.Errorf("making dev/%s: %w", n.name, err)
		}
		if err := unix.Fchmodat(int(dir.Fd()), n.name, n.mode, 0); err != nil {
			return fmt.Errorf("making dev/%s: %w", n.name, err)
		}
	}
	for name, text := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
	} {
		if err := unix.Symlinkat(text, int(dir.Fd()), name); err != nil {
			return fmt.Errorf("making dev/%s: %w", name, err)
		}
	}
	for _, name := range []string{"pts", "shm"} {
		if err := unix.Mkdirat(int(dir.Fd()), name, 0o755); err != nil {
			return fmt.Errorf("making dev/%s: %w", name, err)
		}
	}
	return errors.Join(
		r.mount("devpts", "dev/pts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"),
		r.mount("tmpfs", "dev/shm", hardened, "mode=1777,size=64m"))
}

// folders gives the program a /run and a /tmp of its own, and hides the scratch
// folder, which lies in the tree if the root is the running system.
func (r *room) folders() error {
	if err := r.mount("tmpfs", "run", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=64m"); err != nil {
		return err
	}
	tmp, err := os.OpenFile(r.Tmp, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer tmp.Close()
	if err := unix.Chmod(r.Tmp, 0o1777); err != nil {
		return fmt.Errorf("%s: %w", r.Tmp, err)
	}
	if err := r.bind(tmp, "tmp", unix.MS_NOSUID|unix.MS_NODEV); err != nil {
		return err
	}
	if r.Hidden == "" {
		return nil
	}
	err = r.mount("tmpfs", r.Hidden, unix.MS_RDONLY|hardened, "size=4k")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it lies in the /run or the /tmp that is not shown
	}
	return err
}

// files shows the program its files.
func (r *room) files() error {
	dir, err := r.inRun(path.Base(filesDir))
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, f := range r.Files {
		if err := r.show(dir, f); err != nil {
			return fmt.Errorf("file %s: %w", f.Name, err)
		}
	}
	return nil
}

// inRun makes a folder in the /run of our own.
func (r *room) inRun(name string) (*os.File, error) {
	run, err := r.at("run")
	if err != nil {
		return nil, err
	}
	defer run.Close()
	return pathrs.MkdirAllHandle(run, "slipcast/"+name, 0o755)
}

func (r *room) show(dir *os.File, f File) error {
	source, err := os.OpenFile(f.Source, unix.O_PATH, 0)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := put(dir, f.Name, nil, 0o644); err != nil {
		return err
	}
	return r.bind(source, filesDir+"/"+f.Name, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV)
}

// put makes a file in a folder.
func put(dir *os.File, name string, text []byte, mode uint32) error {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Chmod(os.FileMode(mode))
}

// configuration lays files of our own over files of the tree.
func (r *room) configuration() error {
	dir, err := r.inRun("etc")
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := r.cover(dir, policyPath, policyText, 0o755); err != nil {
		return err
	}
	if !r.Net {
		return nil
	}
	if text, ok := r.linkIntoRun(resolvPath); ok {
		return r.placeInRun(text)
	}
	return r.cover(dir, resolvPath, string(r.DNS), 0o644)
}

// cover mounts a file with our text over one of the tree. If there is none,
// because its folder is not there, nobody will look for it.
func (r *room) cover(dir *os.File, name, text string, mode uint32) error {
	if err := put(dir, path.Base(name), []byte(text), mode); err != nil {
		return err
	}
	source, err := pathrs.OpenatInRoot(dir, path.Base(name))
	if err != nil {
		return err
	}
	defer source.Close()
	err = r.bind(source, name, unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// linkIntoRun tells whether a file is a symbolic link into /run, which is ours:
// so systemd-resolved has it. It returns the path from there.
func (r *room) linkIntoRun(name string) (string, bool) {
	folder, err := r.at(path.Dir(name))
	if err != nil {
		return "", false
	}
	defer folder.Close()
	text := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(folder.Fd()), path.Base(name), text)
	if err != nil {
		return "", false
	}
	target := string(text[:n])
	if !path.IsAbs(target) {
		target = path.Join("/", path.Dir(name), target)
	}
	return strings.CutPrefix(path.Clean(target), "/run/")
}

// placeInRun puts the configuration of the resolver into our /run.
func (r *room) placeInRun(name string) error {
	run, err := r.at("run")
	if err != nil {
		return err
	}
	defer run.Close()
	dir, err := pathrs.MkdirAllHandle(run, path.Dir(name), 0o755)
	if err != nil {
		return err
	}
	defer dir.Close()
	return put(dir, path.Base(name), r.DNS, 0o644)
}

// kernel shows the kernel's own trees: what belongs to the whole machine cannot
// be written to.
func (r *room) kernel() error {
	if err := r.mount("sysfs", "sys", unix.MS_RDONLY|hardened, ""); err != nil {
		return err
	}
	if err := r.mount("proc", "proc", hardened, ""); err != nil {
		return err
	}
	for _, name := range []string{"sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "mtrr", "timer_list", "kcore", "keys"} {
		source, err := r.at("proc/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // this kernel has none
		}
		if err != nil {
			return fmt.Errorf("proc/%s: %w", name, err)
		}
		err = r.bind(source, "proc/"+name, unix.MS_RDONLY|hardened)
		source.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// enter makes the tree the root, and takes all other mounts away.
func (r *room) enter() error {
	if err := unix.Chdir(r.Merged); err != nil {
		return fmt.Errorf("%s: %w", r.Merged, err)
	}
	// The old root is put over the new one, pivot_root(2), and taken off.
	err := unix.PivotRoot(".", ".")
	if errors.Is(err, unix.EINVAL) {
		return overInitramfs()
	}
	if err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmounting all else: %w", err)
	}
	return unix.Chdir("/")
}

// overInitramfs is for a boot environment, whose root is that of the kernel: it
// can be covered, but not be taken away. What lies below is out of reach: the
// way up from the tree ends in the tree, and there is no capability to unmount it.
func overInitramfs() error {
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("covering the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("chroot: %w", err)
	}
	return unix.Chdir("/")
}
