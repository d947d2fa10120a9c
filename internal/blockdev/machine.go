package blockdev

import (
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A fileID is what the checks need to know of a path. Two paths with the same
// dev and inode are the same file, two block devices with the same rdev the
// same device.
type fileID struct {
	mode  fs.FileMode // type and permissions
	dev   devno       // of the file system that the file is on
	inode uint64
	rdev  devno // of a device node
	mount int   // id of the mount in mountinfo; zero if it is not known
	size  int64
}

// isDevice reports whether id is a block device.
func (id fileID) isDevice() bool {
	return id.mode&fs.ModeDevice != 0 && id.mode&fs.ModeCharDevice == 0
}

// same reports whether two paths lead to the same bytes.
func (id fileID) same(other fileID) bool {
	if id.isDevice() || other.isDevice() {
		return id.isDevice() && other.isDevice() && id.rdev == other.rdev
	}
	return id.dev == other.dev && id.inode == other.inode
}

// A machine is where the package gets its facts from. Tests make one of
// literal tables.
type machine struct {
	sys  fs.FS                                              // the root of sysfs
	proc fs.FS                                              // the root of procfs
	stat func(path string) (fileID, error)                  // follows links
	loop func(devName string) (dev, rdev devno, ino uint64) // LOOP_GET_STATUS64; zeros if it fails
}

// thisMachine returns the machine that the process runs on.
func thisMachine() *machine {
	return &machine{sys: os.DirFS("/sys"), proc: os.DirFS("/proc"), stat: statPath, loop: loopStatus}
}

// statPath describes what is at path.
func statPath(path string) (fileID, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileID{}, err
	}
	id := identify(info)
	var x unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &x); err == nil && x.Mask&unix.STATX_MNT_ID != 0 {
		id.mount = int(x.Mnt_id)
	}
	return id, nil
}

// loopStatus asks a loop device for the file below it: the device of its file
// system, its own number if it is a device node, and its inode. Unlike the
// path in sysfs this holds in every mount namespace.
func loopStatus(devName string) (dev, rdev devno, ino uint64) {
	f, err := os.Open("/dev/" + devName)
	if err != nil {
		return 0, 0, 0
	}
	defer f.Close()
	status, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return 0, 0, 0
	}
	return devno(status.Device), devno(status.Rdevice), status.Inode
}
