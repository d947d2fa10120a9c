package blockdev

import (
	"os"
	"unsafe"
)

// AlignedBuffer returns n bytes of memory that start at a page, as direct
// reads and writes want it. The memory belongs to the garbage collector as
// any other.
func AlignedBuffer(n int) []byte {
	page := os.Getpagesize()
	buf := make([]byte, n+page)
	skip := -address(buf) & (page - 1)
	return buf[skip : skip+n : skip+n]
}

// address returns where p lies in memory, for questions of alignment.
func address(p []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
}
