package tftp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// recvmmsg waits for one message and takes up to n that are there.
func recvmmsg(fd int, first *unix.Msghdr, n int) (int, error) {
	got, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(first)), uintptr(n),
		unix.MSG_WAITFORONE, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(got), nil
}
