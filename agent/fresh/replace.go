package fresh

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// partial is what the name of a file ends with until it is whole.
const partial = ".slipcast.partial"

// replace makes name in d a plain file with this contents, and tells whether it
// was not. Owner, mode and label are those of the file that was there; a new
// file belongs to root and has this mode and the label of d. A file that a
// power cut left half written is removed.
func (d *folder) replace(name string, data []byte, mode uint32) (changed bool, err error) {
	if err := d.unlink(name + partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	like := unix.Stat_t{Mode: mode}
	labels := d.File
	switch st, err := d.regular(name); {
	case err == nil:
		old, err := open(d.File, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, plainly)
		if err != nil {
			return false, err
		}
		defer old.Close()
		if now, err := d.read(name); err == nil && bytes.Equal(now, data) {
			return false, nil
		}
		like, labels = st, old
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	return true, d.write(name, data, like, labels)
}

// write puts a file in the place of another.
func (d *folder) write(name string, data []byte, like unix.Stat_t, labels *os.File) error {
	const flags = unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd := -1
	err := control(d.File, func(at int) (err error) {
		fd, err = unix.Openat(at, name+partial, flags, 0o600)
		return err
	})
	if err != nil {
		return &fs.PathError{Op: "creating", Path: path.Join(d.path, name+partial), Err: err}
	}
	f := os.NewFile(uintptr(fd), path.Join(d.path, name))
	err = fill(f, data, like, labels)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = control(d.File, func(at int) error { return unix.Renameat(at, name+partial, at, name) })
	}
	if err != nil {
		return errors.Join(err, d.unlink(name+partial))
	}
	return d.flush()
}

// fill makes a new file whole, on the disk.
func fill(f *os.File, data []byte, like unix.Stat_t, labels *os.File) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	err := control(f, func(fd int) error {
		if err := unix.Fchown(fd, int(like.Uid), int(like.Gid)); err != nil {
			return err
		}
		return unix.Fchmod(fd, like.Mode&0o7777)
	})
	if err == nil {
		err = copyLabels(f, labels)
	}
	if err != nil {
		return &fs.PathError{Op: "making alike", Path: f.Name(), Err: err}
	}
	return f.Sync()
}

// copyLabels gives a file the extended attributes of another (or of its
// folder) that decide about access. Those that are sums of the contents
// (security.ima, security.evm) would be wrong.
func copyLabels(to, from *os.File) error {
	names := []string{"security.selinux", "security.SMACK64"}
	if st, err := from.Stat(); err == nil && st.Mode().IsRegular() {
		names = append(names, "system.posix_acl_access")
	}
	for _, name := range names {
		value := make([]byte, 64<<10) // XATTR_SIZE_MAX
		n := 0
		err := control(from, func(fd int) (err error) {
			n, err = unix.Fgetxattr(fd, name, value)
			return err
		})
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err == nil {
			err = control(to, func(fd int) error { return unix.Fsetxattr(fd, name, value[:n], 0) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}
