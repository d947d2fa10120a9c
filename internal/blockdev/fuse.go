package blockdev

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// MountFUSE makes a FUSE mount (Linux 5.4) that only this user can use. connection is a
// descriptor of /dev/fuse, on which the kernel's requests come; root is the top
// directory, open with O_PATH, of a mount that has no place in any directory
// or namespace. Requests are at most maxRead bytes long.
//
// The mount ends when root and all files in it are closed, also when the
// processes are killed. A process that serves the connection must not use the
// mount as well: if it is killed while it waits for itself, it stays.
func MountFUSE(name string, maxRead int) (connection int, root *os.File, err error) {
	connection, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, nil, &os.PathError{Op: "open", Path: "/dev/fuse", Err: err}
	}
	root, err = mountFUSE(connection, name, maxRead)
	if err != nil {
		unix.Close(connection)
		return -1, nil, fmt.Errorf("mounting a FUSE file system: %w", err)
	}
	return connection, root, nil
}

func mountFUSE(connection int, name string, maxRead int) (*os.File, error) {
	fs, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fs)
	for _, o := range [][2]string{
		{"source", name}, {"subtype", "slipcast"},
		{"fd", strconv.Itoa(connection)}, {"rootmode", strconv.FormatInt(unix.S_IFDIR, 8)},
		{"user_id", strconv.Itoa(os.Geteuid())}, {"group_id", strconv.Itoa(os.Getegid())},
		{"max_read", strconv.Itoa(maxRead)},
	} {
		if err := unix.FsconfigSetString(fs, o[0], o[1]); err != nil {
			return nil, fmt.Errorf("option %s=%s: %w%s", o[0], o[1], err, complaint(fs))
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("%w%s", err, complaint(fs))
	}
	const attributes = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME
	mnt, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attributes)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(mnt), name), nil
}
