package root

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"slipcast/internal/blockdev"
)

// A system is where on a disk the root of a system lies.
type system struct {
	*probed
	options []string // of its mount: the subvolume of a btrfs
	swaps   []string // paths of the files that it swaps to
}

// find looks for the system on a disk. It mounts one volume after another,
// read-only, on point, and leaves nothing mounted.
func find(ctx context.Context, volumes []*probed, point *os.File, opt MountOptions) (*system, error) {
	var found []*system
	var why []error
	for _, v := range volumes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if v.fs == "swap" || v.fs == "vfat" || opt.Root != "" && opt.Root != v.Node {
			continue
		}
		if v.refused != nil {
			why = append(why, v.refused)
			continue
		}
		list, err := v.systems(point, opt)
		if err != nil {
			why = append(why, err)
		}
		found = append(found, list...)
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, errors.Join(append([]error{ErrNoSystem}, why...)...)
	}
	return nil, fmt.Errorf("%w: on %s and on %s", ErrSeveralSystems, found[0].where(), found[1].where())
}

func (s *system) where() string {
	if len(s.options) > 0 {
		return fmt.Sprintf("%s (%s)", s.name(), s.options[0])
	}
	return s.name()
}

// places are the options by which a volume shows its parts that may hold a
// system: of a btrfs the default subvolume, and those that installers make: "@"
// openSUSE, Ubuntu and most others, "@rootfs" Debian, "root" Fedora. Others
// may be snapshots.
func (p *probed) places() [][]string {
	if p.fs == "btrfs" {
		return [][]string{nil, {"subvol=/@"}, {"subvol=/@rootfs"}, {"subvol=/root"}}
	}
	return [][]string{nil}
}

// systems returns the systems on a volume: the first place that has one.
func (p *probed) systems(point *os.File, opt MountOptions) ([]*system, error) {
	opt.ReadOnly = true
	for i, options := range p.places() {
		found, err := p.look(point, opt, options)
		if err != nil && i > 0 {
			continue // there is no such subvolume
		}
		if err != nil {
			return nil, err
		}
		if found != nil {
			return []*system{found}, nil
		}
	}
	return nil, nil
}

// look mounts a volume read-only on a thread of its own, so that the mount
// ends with it, and returns the system that is there, nil if there is none.
func (p *probed) look(point *os.File, opt MountOptions, options []string) (found *system, err error) {
	err = onThread(func() error {
		if err := privateMounts(); err != nil {
			return err
		}
		at, err := os.OpenFile(point.Name(), unixPath, 0)
		if err != nil {
			return err
		}
		defer at.Close()
		if err := p.mountAt(at, opt, options...); err != nil {
			return err
		}
		r, err := open(point.Name(), []string{"."})
		if err != nil {
			return err
		}
		if r.IsSystem() {
			text, _ := r.readFstab() // whoever mounts what it says tells what is wrong with it
			found = &system{p, options, swapFiles(text)}
		}
		if err := r.release(); err != nil {
			return err
		}
		// The end of the thread would unmount it as well, but some time later.
		return unix.Unmount(point.Name(), unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	})
	// Mounted to be written to it would still be in use.
	return found, errors.Join(err, blockdev.Unmounted(p.Node))
}

// IsSystem tells whether the root holds a system: not whether that is whole.
func (r *Root) IsSystem() bool {
	if r.family == Windows {
		return true
	}
	has := func(paths ...string) bool {
		for _, path := range paths {
			if _, err := r.Lstat(path); err == nil {
				return true
			}
		}
		return false
	}
	// Where /usr is a volume of its own, neither programs nor usr/lib are here.
	return has("etc/fstab", "etc/os-release", "usr/lib/os-release") &&
		has("etc/passwd", "sbin/init", "usr/sbin/init", "usr/lib/systemd/systemd", "bin/sh")
}
