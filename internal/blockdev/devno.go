package blockdev

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A devno is a device number in the encoding of st_dev and st_rdev. The zero
// value is no device.
type devno uint64

// parseDevno reads MAJOR:MINOR, as sysfs and mountinfo write it.
func parseDevno(s string) (devno, error) {
	major, minor, ok := strings.Cut(strings.TrimSpace(s), ":")
	a, err1 := strconv.ParseUint(major, 10, 32)
	b, err2 := strconv.ParseUint(minor, 10, 32)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("malformed device number %q", s)
	}
	return devno(unix.Mkdev(uint32(a), uint32(b))), nil
}

// anonymous reports whether no block device has the number: the kernel gives
// major 0 to file systems that span several devices (btrfs) or none.
func (d devno) anonymous() bool { return unix.Major(uint64(d)) == 0 }

func (d devno) String() string {
	return fmt.Sprintf("%d:%d", unix.Major(uint64(d)), unix.Minor(uint64(d)))
}
