package root

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"slipcast/internal/blockdev"
)

// A Disk is the volumes of a disk, in its order.
type Disk struct{ Volumes []Volume }

// MountOptions change how a disk is mounted. The zero value is the default.
type MountOptions struct {
	ReadOnly bool                    // nothing is written, not even a journal that would have to be replayed
	Root     string                  // Node of the volume that the system is on; empty: the only one that has one
	Load     func(name string) error // loads a kernel module; nil if the kernel finds its own
}

// unixPath are the flags for a directory that something is mounted on.
const unixPath = unix.O_PATH | unix.O_DIRECTORY

// Mount finds the system on a disk and mounts it at dir, an empty directory:
// its root, and what its etc/fstab mounts from the same disk, but for what is
// marked noauto. Of a Windows, the volume alone that Windows is on.
//
// The mounts lie in a mount namespace of their own, where no other program
// sees them, and end with Close or with the process. Nothing in them can be
// executed, and devices are not devices.
//
// What must not be changed is refused with a [RefusedError], for anything but
// the system's own volumes only if the fstab wants it: encrypted, suspended,
// dirty (where the driver does not mend that), damaged, without a driver. A
// suspended system anywhere on the disk refuses all of it, and so does one in a
// swap file that the fstab names. A folder of the system (boot, efi, usr, var,
// opt) whose volume is not on the disk is an error, unless it is marked nofail;
// any other one is out of reach: what leads into it is refused with an
// [AbsentError].
func Mount(ctx context.Context, d Disk, dir string, opt MountOptions) (*Root, error) {
	r, err := mount(ctx, d, dir, opt)
	if err != nil {
		return nil, fmt.Errorf("mounting the system: %w", err)
	}
	return r, nil
}

func mount(ctx context.Context, d Disk, dir string, opt MountOptions) (*Root, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	volumes, err := probeAll(ctx, d)
	if err != nil {
		return nil, err
	}
	point, err := os.OpenFile(dir, unixPath, 0)
	if err != nil {
		return nil, err
	}
	defer point.Close()
	sys, err := find(ctx, volumes, point, opt)
	if err != nil {
		return nil, err
	}
	if err := sys.fit(opt); err != nil {
		return nil, err
	}
	m := &mounting{volumes: volumes, sys: sys, dir: dir, opt: opt}
	if err := m.checkAwake(ctx); err != nil {
		return nil, err
	}
	return m.run()
}

// probeAll looks at all volumes, and refuses a disk with a suspended Linux: it
// has its file systems open.
func probeAll(ctx context.Context, d Disk) ([]*probed, error) {
	var volumes []*probed
	for _, v := range d.Volumes {
		p, err := probe(ctx, v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name(), err)
		}
		if p.fs == "swsuspend" {
			return nil, p.refused
		}
		volumes = append(volumes, p)
	}
	return volumes, nil
}

// fit refuses what cannot be mounted as it is asked for.
func (p *probed) fit(opt MountOptions) error {
	if p.refused != nil {
		return p.refused
	}
	if opt.ReadOnly && p.dirty && p.fs != "vfat" {
		return &RefusedError{p.name(), Dirty, "it was not cleanly unmounted, and a read-only look does not replay its journal", nil}
	}
	return nil
}

// A mounting is a system on its way to its directory.
type mounting struct {
	volumes []*probed
	sys     *system
	dir     string
	opt     MountOptions
	peek    bool // nothing is written, and what has not been unmounted cleanly is looked at all the same
	nodes   []string
	paths   []string
	absent  map[string]string // paths of what is not on the disk, and how etc/fstab calls it
}

// run mounts everything on a thread of its own and opens the root.
func (m *mounting) run() (*Root, error) {
	var r *Root
	err := onThread(func() (err error) {
		r, err = m.mountAll()
		return err
	})
	if err != nil {
		return nil, errors.Join(err, m.released())
	}
	r.nodes = m.nodes
	return r, nil
}

// mountAll mounts everything in a mount namespace of this thread.
func (m *mounting) mountAll() (*Root, error) {
	if err := privateMounts(); err != nil {
		return nil, err
	}
	if err := m.mountRoot(); err != nil {
		return nil, err
	}
	r, err := open(m.dir, []string{"."})
	if err != nil || r.family == Windows {
		return r, err
	}
	if err := errors.Join(m.mountFstab(r), r.release()); err != nil {
		return nil, err
	}
	if r, err = open(m.dir, append(m.paths, ".")); err != nil {
		return nil, err
	}
	if err := r.setAbsent(m.absent); err != nil {
		return nil, errors.Join(err, r.release())
	}
	return r, nil
}

// released waits for the kernel to give the devices back.
func (m *mounting) released() error {
	var errs []error
	for _, node := range m.nodes {
		errs = append(errs, blockdev.Unmounted(node))
	}
	return errors.Join(errs...)
}

func (m *mounting) mountRoot() error {
	point, err := os.OpenFile(m.dir, unixPath, 0)
	if err != nil {
		return err
	}
	defer point.Close()
	m.nodes = append(m.nodes, m.sys.Node)
	return m.sys.mountAt(point, m.opt, m.sys.options...)
}

// mountFstab mounts the other file systems of the root, outer ones first.
func (m *mounting) mountFstab(r *Root) error {
	lines, err := r.fstab()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, l := range lines {
		if l.path == "." || l.has("noauto") {
			continue
		}
		if err := m.mountLine(r, l); err != nil {
			return fmt.Errorf("etc/fstab: /%s: %w", l.path, err)
		}
	}
	return nil
}

// mountLine mounts what a line of etc/fstab says.
func (m *mounting) mountLine(r *Root, l fstabLine) error {
	v, err := m.volume(l)
	if err != nil {
		return err
	}
	if v == nil {
		return m.cover(r, l)
	}
	if err := m.fit(v); err != nil {
		return err
	}
	// Links are resolved by what is mounted so far, as the system itself does.
	at, err := r.lookup(l.path)
	if errors.Is(err, os.ErrNotExist) && m.isBelowAbsent(l.path) {
		return nil
	}
	if err != nil {
		return err
	}
	defer at.Close()
	m.nodes = append(m.nodes, v.Node)
	if err := v.mountAt(at, m.opt, l.subvolume()...); err != nil {
		return err
	}
	m.paths = append(m.paths, l.path)
	return nil
}

// volume returns the volume that a line means; nil if it may be missing.
func (m *mounting) volume(l fstabLine) (*probed, error) {
	var found *probed
	for _, v := range m.volumes {
		if !v.is(l.spec) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%s is both %s and %s", l.spec, found.name(), v.name())
		}
		found = v
	}
	if found == nil && l.isNeeded() {
		return nil, &RefusedError{l.spec, NotPresent, "there is no such volume on the disk", nil}
	}
	return found, nil
}

// isNeeded tells whether the system is not whole without what a line mounts.
func (l fstabLine) isNeeded() bool {
	if l.has("nofail") {
		return false
	}
	first, _, _ := strings.Cut(l.path, "/")
	switch first {
	case "boot", "efi", "usr", "var", "opt":
		return true
	}
	return false
}

// subvolume returns those options that say what of a file system is meant.
func (l fstabLine) subvolume() []string {
	var options []string
	for _, o := range l.options {
		if l.fsType == "btrfs" && (strings.HasPrefix(o, "subvol=") || strings.HasPrefix(o, "subvolid=")) {
			options = append(options, o)
		}
	}
	return options
}
