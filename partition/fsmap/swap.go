package fsmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"slipcast/partition"
)

// A swap area, from the Linux header include/linux/swap.h (union swap_header)
// and the lists of libblkid (superblocks/swap.c). The header fills the first
// page, whose last ten bytes are the signature; the kernel that made it chose
// the size of a page.
const (
	swapHeader    = 1024 // offset of the fields; boot code may lie before them
	swapFields    = 512  // from swapHeader to the list of bad pages
	swapSignature = 10   // bytes at the end of the page
)

// swapPageSizes are the page sizes of the machines that Linux runs on, in
// bytes.
var swapPageSizes = [...]int64{4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10}

// swapSignatures are those of the two versions, and what a suspended system
// puts in their place: the kernel's swsusp in two generations, the program
// s2disk, and the kernel again.
var swapSignatures = [...]string{"SWAPSPACE2", "SWAP-SPACE", "S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"}

// swapTuxOnIce starts an area that holds a system suspended by TuxOnIce.
const swapTuxOnIce = "\xED\xC3\x02\xE9\x98\x56\xE5\x0C"

// readSwap maps a swap area: of a machine that is off only the first page has
// a meaning, with the header and the list of bad pages in it. An area that
// holds a suspended system is captured whole.
func readSwap(v *volume) (*Map, error) {
	pageSize, signature, err := findSwap(v)
	if errors.Is(err, errDamaged) {
		return &Map{Type: "swap"}, err
	}
	if err != nil {
		return nil, err
	}
	switch signature {
	case "":
		return readTuxOnIce(v)
	case "SWAPSPACE2":
		return mapSwap(v, pageSize)
	case "SWAP-SPACE":
		return &Map{Type: "swap"}, errors.New("a swap area of version 0 has no map here")
	}
	return &Map{Type: "swsuspend"}, errors.New("a suspended system is on this swap area")
}

// findSwap looks for a signature at the end of a first page of any size. It
// returns the size of the page, and no signature if there is none. More than
// one is damage: one of them is left from an earlier life, and to lose the
// other's page would lose the swap area.
func findSwap(v *volume) (pageSize int64, signature string, err error) {
	for _, size := range swapPageSizes {
		if v.size < size {
			break
		}
		p, err := v.read(size-swapSignature, swapSignature)
		if err != nil {
			return 0, "", err
		}
		found := swapSignatureIn(p)
		if found != "" && signature != "" {
			return 0, "", damaged("swap signatures for pages of %d and of %d bytes", pageSize, size)
		}
		if found != "" {
			pageSize, signature = size, found
		}
	}
	return pageSize, signature, nil
}

// swapSignatureIn returns the signature that p starts with, if it does.
func swapSignatureIn(p []byte) string {
	for _, s := range swapSignatures {
		if bytes.HasPrefix(p, []byte(s)) {
			return s
		}
	}
	return ""
}

// readTuxOnIce knows the one signature that stands at the start.
func readTuxOnIce(v *volume) (*Map, error) {
	if v.size < int64(len(swapTuxOnIce)) {
		return nil, errNotMine
	}
	p, err := v.read(0, int64(len(swapTuxOnIce)))
	if err != nil {
		return nil, err
	}
	if string(p) != swapTuxOnIce {
		return nil, errNotMine
	}
	return &Map{Type: "swsuspend"}, errors.New("a suspended system is on this swap area (TuxOnIce)")
}

// mapSwap maps a swap area of version 1 with pages of the given size. The
// fields are in the byte order of the machine that made it.
func mapSwap(v *volume, pageSize int64) (*Map, error) {
	p, err := v.read(swapHeader, swapFields)
	if err != nil {
		return nil, err
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint32(p) != 1 {
		order = binary.BigEndian
	}
	lastPage, badPages := order.Uint32(p[4:]), order.Uint32(p[8:])
	m := &Map{Type: "swap", BlockSize: pageSize, Size: (int64(lastPage) + 1) * pageSize}
	m.UUID, m.Label = uuidText(p[12:28]), cString(p[28:44])
	switch {
	case order.Uint32(p) != 1:
		return m, damaged("unknown version of a swap area")
	case lastPage == 0 || m.Size > v.size:
		return m, damaged("a swap area of %d bytes on a volume of %d", m.Size, v.size)
	case int64(badPages) > (pageSize-swapHeader-swapFields-swapSignature)/4:
		return m, damaged("a list of %d bad pages", badPages)
	}
	m.Used = partition.Extents{{Start: 0, Length: pageSize}}
	return m, nil
}

// uuidText formats the 16 bytes of a UUID, empty if all of them are zero.
func uuidText(p []byte) string {
	if bytes.Equal(p, make([]byte, 16)) {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", p[:4], p[4:6], p[6:8], p[8:10], p[10:16])
}

// cString returns the bytes of p before its first zero.
func cString(p []byte) string {
	text, _, _ := bytes.Cut(p, []byte{0})
	return string(text)
}
