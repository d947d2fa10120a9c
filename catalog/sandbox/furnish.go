package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"
)

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
