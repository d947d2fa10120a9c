package fresh

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A system is a Linux system on a mounted file system, or only the /var of one.
type system struct {
	run   *run
	root  *os.File
	name  string // of the volume, for people
	place string // of root, before the names in it: "@/" in a subvolume
	under string // "var/" if root is that folder, else empty

	errs     []error
	readOnly bool // was found to be when something was to be changed
}

// linuxOn makes the Linux systems on a volume fresh. What the kernel does not
// mount is noted: it may be no system at all.
func (r *run) linuxOn(v volume, k kind) error {
	found := false
	mounts := subvolumeMounts(k)
	err := r.withMount(v, k, false, mounts, func(roots []*os.File) error {
		systems, err := r.systems(v, roots)
		found = len(systems) > 0
		return errors.Join(err, closeSystems(systems))
	})
	if errors.Is(err, errMount) {
		r.note(v.name, "%s: %v", k, err)
		return nil
	}
	if err != nil || !found {
		return err
	}
	return r.withMount(v, k, true, mounts, func(roots []*os.File) error {
		systems, err := r.systems(v, roots)
		errs := []error{err}
		for _, s := range systems {
			s.renew()
			if s.readOnly {
				errs = append(errs, fmt.Errorf("the system in it cannot be changed: %w", unix.EROFS))
			}
			errs = append(errs, s.errs...)
		}
		return errors.Join(append(errs, closeSystems(systems))...)
	})
}

// subvolumeMounts are the options of the mounts that show all that is looked
// at: of a btrfs the default subvolume, and the top of the tree.
func subvolumeMounts(k kind) [][]string {
	if k == btrfs {
		return [][]string{nil, {"subvolid=5"}}
	}
	return [][]string{nil}
}

// subvolumes are where installers put a system and its /var below the top of a
// btrfs: "@" openSUSE, Ubuntu and most others, "@rootfs" Debian, "root" and
// "var" Fedora. Other subvolumes may be snapshots and are left alone.
func subvolumes() []string { return []string{"@", "@rootfs", "root", "@var", "@/var", "var"} }

// subvolumeRoot is the inode number that the root of each subvolume has
// (BTRFS_FIRST_FREE_OBJECTID, linux/btrfs_tree.h).
const subvolumeRoot = 256

// systems returns what is to be changed, each once, below the roots of the
// mounts of a volume. The caller closes them, also if there is an error.
func (r *run) systems(v volume, roots []*os.File) ([]*system, error) {
	var list []*system
	var known []fileID
	for i, root := range roots {
		places := []string{"."}
		if i > 0 {
			places = append(places, subvolumes()...)
		}
		for _, place := range places {
			d, err := openFolder(root, place)
			if errors.Is(err, fs.ErrNotExist) || errors.As(err, new(*leftError)) {
				continue
			}
			if err != nil {
				return list, err
			}
			id, err := identify(d.File)
			under, ok := systemIn(d.File)
			if err != nil || !ok || slices.Contains(known, id) || place != "." && id.ino != subvolumeRoot {
				d.Close()
				continue
			}
			known = append(known, id)
			s := &system{run: r, root: d.File, name: v.name, under: under}
			if place != "." {
				s.place = place + "/"
			}
			list = append(list, s)
		}
	}
	return list, nil
}

func closeSystems(systems []*system) error {
	var errs []error
	for _, s := range systems {
		errs = append(errs, s.root.Close())
	}
	return errors.Join(errs...)
}

// A fileID tells files apart.
type fileID struct{ dev, ino uint64 }

func identify(f *os.File) (fileID, error) {
	var st unix.Stat_t
	err := control(f, func(fd int) error { return unix.Fstat(fd, &st) })
	return fileID{uint64(st.Dev), st.Ino}, err
}

// systemIn tells whether a directory is the root of a Linux system: it has an
// /etc that is no link, with os-release(5) or the passwd(5) of systems without.
// Or it is the /var of one, which the Filesystem Hierarchy Standard 3.0 (5.2)
// gives cache, lib, log and spool.
func systemIn(root *os.File) (under string, ok bool) {
	if etc, err := openFolder(root, "etc"); err == nil {
		defer etc.Close()
		_, release := etc.stat("os-release")
		_, passwd := etc.stat("passwd")
		return "", release == nil || passwd == nil
	}
	for _, name := range []string{"cache", "lib", "log", "spool"} {
		d, err := openFolder(root, name)
		if err != nil {
			return "", false
		}
		d.Close()
	}
	return "var/", true
}

// folder opens a folder of the system by its usual path. It wraps
// [fs.ErrNotExist] for what is not on this volume.
func (s *system) folder(name string) (*folder, error) {
	rest, ok := strings.CutPrefix(name, s.under)
	if !ok {
		return nil, &fs.PathError{Op: "opening", Path: name, Err: fs.ErrNotExist}
	}
	d, err := openFolder(s.root, rest)
	var left *leftError
	if errors.As(err, &left) {
		left.path = s.place + rest
	}
	if d != nil {
		d.path = s.place + rest
	}
	return d, err
}

// within calls f with a folder of the system. A folder that is not there has
// nothing in it to change.
func (s *system) within(name string, f func(d *folder)) {
	d, err := s.folder(name)
	if err != nil {
		s.try(err)
		return
	}
	defer d.Close()
	f(d)
}

// try keeps an error for the end, and a leftError among the notes. What is not
// there needs no change.
func (s *system) try(err error) {
	var left *leftError
	switch {
	case errors.As(err, &left):
		s.run.note(s.name, "%v", left)
	case errors.Is(err, unix.EROFS):
		s.readOnly = true // once for all
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		s.errs = append(s.errs, err)
	}
}

// put replaces a file in d.
func (s *system) put(d *folder, name string, data []byte, mode uint32) {
	changed, err := d.replace(name, data, mode)
	s.try(err)
	if changed && err == nil {
		s.run.changed(s.name, path.Join(d.path, name))
	}
}

// drop removes an entry of d and all that is in it.
func (s *system) drop(d *folder, name string) {
	err := d.removeAll(name, maxDepth)
	if err == nil {
		err = d.flush()
	}
	s.try(err)
	if err == nil {
		s.run.changed(s.name, path.Join(d.path, name))
	}
}

// renew does everything that is to be done in a system. The line of
// /etc/hosts comes first: it is made from what the name was.
func (s *system) renew() {
	if s.under == "" {
		s.run.linux = true
	}
	if s.run.opt.Hostname != "" {
		s.within("etc", s.rename)
	}
	if !s.run.opt.Fresh {
		return
	}
	s.within("etc", s.renewMachineID)
	s.within("var/lib/dbus", s.forgetDBusID)
	s.within("etc/ssh", s.renewHostKeys)
	for _, r := range remains() {
		s.within(r.folder, func(d *folder) { s.forget(d, r) })
	}
}
