package root

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A Type is what lies at a path.
type Type string

// The types. The first three are called as in a bundle's manifest.
const (
	File        Type = "file"
	Directory   Type = "dir"
	Symlink     Type = "symlink"
	CharDevice  Type = "char"
	BlockDevice Type = "block"
	FIFO        Type = "fifo"
	Socket      Type = "socket"
)

// A Stat describes what lies at a path.
type Stat struct {
	Type    Type
	Mode    uint32 // permission bits, setuid, setgid and sticky
	UID     uint32
	GID     uint32
	Size    int64  // bytes, of a file; else 0
	ModTime Time   // when the contents were changed last
	Rdev    uint64 // of a device: its number, as stat(2) gives it
	Dev     uint64 // with Ino: which file it is
	Ino     uint64
	Links   uint64 // how many names it has
	Taken   int64  // bytes that it takes on its file system
}

// A Time is a point in time as file systems keep it: seconds since 1970 and
// nanoseconds, which are never negative.
type Time struct {
	Sec  int64
	Nsec int64
}

// lstat describes a name in an open folder, or the open file itself if name is
// empty, and tells the number of the mount that it lies on.
func lstat(folder int, name string) (Stat, uint64, error) {
	var st unix.Statx_t
	flags := unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if name == "" {
		flags |= unix.AT_EMPTY_PATH
	}
	if err := unix.Statx(folder, name, flags, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st); err != nil {
		return Stat{}, 0, err
	}
	if st.Mask&unix.STATX_MNT_ID == 0 {
		return Stat{}, 0, fmt.Errorf("the number of a mount: %w (needs Linux 5.8)", unix.ENOSYS)
	}
	return statOf(&st), st.Mnt_id, nil
}

func statOf(st *unix.Statx_t) Stat {
	s := Stat{
		Type: typeOf(uint32(st.Mode)), Mode: uint32(st.Mode) & 0o7777, UID: st.Uid, GID: st.Gid,
		ModTime: Time{st.Mtime.Sec, int64(st.Mtime.Nsec)},
		Dev:     unix.Mkdev(st.Dev_major, st.Dev_minor), Ino: st.Ino,
		Links: uint64(st.Nlink), Taken: int64(st.Blocks) * 512,
	}
	switch s.Type {
	case File:
		s.Size = int64(st.Size)
	case CharDevice, BlockDevice:
		s.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	}
	return s
}

func typeOf(mode uint32) Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return Directory
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFCHR:
		return CharDevice
	case unix.S_IFBLK:
		return BlockDevice
	case unix.S_IFIFO:
		return FIFO
	case unix.S_IFSOCK:
		return Socket
	}
	return File
}
