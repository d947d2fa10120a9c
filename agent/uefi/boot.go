package uefi

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ourName is the description of the entries that we make.
const ourName = "slipcast"

// ErrOrder reports that the disk boots next, and that what boots after that is
// up to the firmware as it was.
var ErrOrder = errors.New("the boot order is left as it was")

// A Loader is a boot loader on a partition of a disk with a GPT.
type Loader struct {
	Partition int
	Start     int64  // of the partition, in logical sectors
	Size      int64  // likewise
	GUID      string // of the partition, as Linux prints it
	File      string // from the root of its file system, with backslashes: \EFI\BOOT\BOOTX64.EFI
}

// path returns the short device path of l, section 3.1.2: a hard drive node
// (10.3.5.1) and a file path node (10.3.5.4).
func (l Loader) path() ([]Node, error) {
	guid, err := mixedGUID(l.GUID)
	if err != nil {
		return nil, err
	}
	if l.Partition < 1 || l.Start <= 0 || l.Size <= 0 || l.File == "" {
		return nil, fmt.Errorf("no loader: partition %d at %d of %d sectors, %q", l.Partition, l.Start, l.Size, l.File)
	}
	drive := binary.LittleEndian.AppendUint32(nil, uint32(l.Partition))
	drive = binary.LittleEndian.AppendUint64(drive, uint64(l.Start))
	drive = binary.LittleEndian.AppendUint64(drive, uint64(l.Size))
	drive = append(append(drive, guid...), 2, 2) // a GPT, told apart by GUID
	return []Node{{media, hardDrive, drive}, {media, filePath, appendText(nil, l.File)}}, nil
}

// mixedGUID returns a GUID as it lies in memory, appendix A: its first three
// fields are little-endian.
func mixedGUID(text string) ([]byte, error) {
	p, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil || len(p) != 16 {
		return nil, fmt.Errorf("%q is no GUID", text)
	}
	slices.Reverse(p[0:4])
	slices.Reverse(p[4:6])
	slices.Reverse(p[6:8])
	return p, nil
}

// BootDisk makes the firmware boot l: once by BootNext, and from then on by
// BootOrder, behind the network entry that this system was booted from, if it
// was. An entry for l that is there already is used; one that an earlier call
// made for another loader is written anew. Entries of others stay. If the
// firmware takes BootNext alone, the error wraps [ErrOrder].
func (v Vars) BootDisk(l Loader) (Entry, error) {
	path, err := l.path()
	if err != nil {
		return Entry{}, err
	}
	order, err := v.Order()
	if err != nil {
		return Entry{}, err
	}
	e, err := v.entryFor(path, order)
	if err != nil {
		return Entry{}, err
	}
	if err := v.setNext(e.Number); err != nil {
		return Entry{}, err
	}
	if err := v.setOrder(v.before(order, e.Number)); err != nil {
		return e, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	return e, nil
}

// entryFor finds or makes the entry for a path.
func (v Vars) entryFor(path []Node, order []uint16) (Entry, error) {
	e := Entry{Attributes: active, Description: ourName, Path: path}
	free := -1
	for n := range 0x10000 {
		old, err := v.Entry(uint16(n))
		switch {
		case errors.Is(err, ErrNoVariable):
			if free < 0 {
				free = n
			}
			if n > 0xff && free >= 0 && !slices.ContainsFunc(order, func(o uint16) bool { return int(o) > n }) {
				e.Number = uint16(free)
				return e, v.setEntry(e) // firmware counts up from 0, so there are no more
			}
		case err != nil: // not ours, whatever it is
		case samePath(old.Path, path) && old.Active():
			return old, nil
		case old.Description == ourName:
			e.Number = uint16(n)
			return e, v.setEntry(e)
		}
	}
	if free < 0 {
		return Entry{}, errors.New("the firmware has 65536 boot entries")
	}
	e.Number = uint16(free)
	return e, v.setEntry(e)
}

func samePath(a, b []Node) bool {
	return slices.EqualFunc(a, b, func(x, y Node) bool {
		return x.Type == y.Type && x.SubType == y.SubType && bytes.Equal(x.Data, y.Data)
	})
}

// before returns order with disk in front of all but the network entry that
// this system was booted from.
func (v Vars) before(order []uint16, disk uint16) []uint16 {
	var first []uint16
	if current, err := v.number("BootCurrent"); err == nil && current != disk {
		if e, err := v.Entry(current); err == nil && e.Network() {
			first = append(first, current)
		}
	}
	first = append(first, disk)
	for _, n := range order {
		if !slices.Contains(first, n) {
			first = append(first, n)
		}
	}
	return first
}

// BootLocal makes the firmware boot the disk that it would boot without a
// network, once. It returns that entry, and false if there is none.
func (v Vars) BootLocal() (Entry, bool, error) {
	order, err := v.Order()
	if err != nil {
		return Entry{}, false, err
	}
	for _, n := range order {
		e, err := v.Entry(n)
		if err == nil && e.Active() && e.Disk() {
			return e, true, v.setNext(n)
		}
	}
	return Entry{}, false, nil
}
