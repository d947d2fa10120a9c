package root

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A Filesystem is one of the file systems of a root.
type Filesystem struct {
	Path   string // of its top, inside of the root; "." for the root's own
	Type   string // as the kernel calls the driver: ext4, xfs, btrfs, vfat, ntfs3, overlay, ...
	Source string // the device, as far as the kernel tells

	Links    bool // it has symbolic links, and several names for a file
	Owners   bool // it keeps owners and permissions
	Xattrs   bool // it keeps extended attributes
	ReadOnly bool // it is mounted read-only

	dir *os.File
}

// add makes the file system that dir lies on a part of the root.
func (r *Root) add(path string, dir *os.File, table map[uint64]mountLine) error {
	_, id, err := lstat(int(dir.Fd()), "")
	if err != nil {
		return pathError("looking at", path, err)
	}
	m, ok := table[id]
	if !ok {
		return fmt.Errorf("%s: the kernel's table of mounts does not have it", path)
	}
	fat, ntfs := isFAT(m.fsType), isNTFS(m.fsType)
	f := &Filesystem{
		Path: path, Type: m.fsType, Source: m.source, ReadOnly: m.readOnly,
		Links: !fat, Owners: !fat && !ntfs, Xattrs: !fat && !ntfs, dir: dir,
	}
	r.mounts = append(r.mounts, f)
	r.byID[id] = f
	return nil
}

// addBelow adds the file systems that are mounted at paths inside of the root.
// A path that is no mount point is no file system of its own. keeps tells the
// types that are taken.
func (r *Root) addBelow(paths []string, keeps func(fsType string) bool, table map[uint64]mountLine) error {
	paths = slices.Sorted(slices.Values(paths))
	for _, path := range slices.Compact(paths) {
		f, err := r.lookup(path)
		if err != nil {
			continue // not there, so nothing is mounted there
		}
		dir, err := reopenDir(f)
		f.Close()
		if err != nil {
			continue // no directory
		}
		_, id, err := lstat(int(dir.Fd()), "")
		if err != nil || r.byID[id] != nil || !keeps(table[id].fsType) {
			dir.Close()
			continue
		}
		if err := r.add(path, dir, table); err != nil {
			dir.Close()
			return err
		}
	}
	return nil
}

func isFAT(fsType string) bool { return slices.Contains([]string{"vfat", "msdos", "exfat"}, fsType) }

// isNTFS tells the drivers of NTFS: those of the kernel, and ntfs-3g, which
// fuseblk nearly always is.
func isNTFS(fsType string) bool {
	return slices.Contains([]string{"ntfs3", "ntfs", "fuseblk"}, fsType)
}

// isVirtual tells the file systems that no root keeps anything on, although
// its fstab may name them, and those of other machines.
func isVirtual(fsType string) bool {
	return slices.Contains([]string{
		"proc", "sysfs", "tmpfs", "ramfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "hugetlbfs", "debugfs", "tracefs",
		"securityfs", "configfs", "bpf", "pstore", "efivarfs", "autofs", "binfmt_misc", "rpc_pipefs", "nsfs", "fusectl",
		"nfs", "nfs4", "cifs", "smb3", "9p", "afs", "ceph", "squashfs", "iso9660", "udf", "erofs",
	}, fsType) || strings.HasPrefix(fsType, "fuse.")
}

// reopenDir opens a directory that is open with O_PATH for reading.
func reopenDir(f *os.File) (*os.File, error) {
	fd, err := unix.Openat(int(f.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// Free returns how many bytes and inodes may still be taken, by root. A file
// system that has no limit for inodes tells the largest number.
func (f *Filesystem) Free() (bytes, inodes int64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.dir.Fd()), &st); err != nil {
		return 0, 0, pathError("looking at the file system at", f.Path, err)
	}
	inodes = int64(min(st.Ffree, math.MaxInt64))
	if st.Files == 0 {
		inodes = math.MaxInt64
	}
	return int64(min(st.Bfree, math.MaxInt64/uint64(max(st.Frsize, 1)))) * st.Frsize, inodes, nil
}

// Used returns how many bytes are taken.
func (f *Filesystem) Used() (int64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.dir.Fd()), &st); err != nil {
		return 0, pathError("looking at the file system at", f.Path, err)
	}
	return int64(st.Blocks-min(st.Bfree, st.Blocks)) * st.Frsize, nil
}

// Dir returns the top directory of the file system, open for reading. It
// belongs to the root: the caller must not close it, nor read names from it.
func (f *Filesystem) Dir() *os.File { return f.dir }

// Sync returns when all that was written is on the disk: syncfs(2).
func (f *Filesystem) Sync() error {
	if err := unix.Syncfs(int(f.dir.Fd())); err != nil {
		return pathError("flushing the file system at", f.Path, err)
	}
	return nil
}

// syncWritten is Sync where something can have been written.
func (f *Filesystem) syncWritten() error {
	if f.ReadOnly {
		return nil
	}
	return f.Sync()
}
