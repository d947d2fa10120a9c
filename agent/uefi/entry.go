package uefi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
)

// ErrMalformed reports bytes that are no boot entry.
var ErrMalformed = errors.New("malformed boot entry")

// An Entry is a boot entry: a load option, section 3.1.3.
type Entry struct {
	Number      uint16
	Attributes  uint32 // bit 0 is active
	Description string
	Path        []Node
	Optional    []byte // data for what is loaded
}

// active is the attribute of entries that the firmware tries.
const active = 1

// Active tells whether the firmware tries e.
func (e Entry) Active() bool { return e.Attributes&active != 0 }

// ParseEntry reads a load option. What it returns shares memory with p. Any
// error wraps [ErrMalformed]. If there are several device paths, Path is the
// first, and the others are lost.
func ParseEntry(p []byte) (Entry, error) {
	if len(p) < 6 {
		return Entry{}, fmt.Errorf("%w: %d bytes, want at least 6", ErrMalformed, len(p))
	}
	e := Entry{Attributes: binary.LittleEndian.Uint32(p)}
	paths := int(binary.LittleEndian.Uint16(p[4:]))
	text, rest, err := cutText(p[6:])
	if err != nil {
		return Entry{}, err
	}
	e.Description = text
	if paths > len(rest) {
		return Entry{}, fmt.Errorf("%w: device paths of %d bytes where %d are left", ErrMalformed, paths, len(rest))
	}
	if e.Path, err = parsePath(rest[:paths]); err != nil {
		return Entry{}, err
	}
	e.Optional = rest[paths:]
	return e, nil
}

// AppendBinary appends e as a load option to b. It implements
// encoding.BinaryAppender.
func (e Entry) AppendBinary(b []byte) ([]byte, error) {
	path, err := appendPath(nil, e.Path)
	if err != nil {
		return nil, err
	}
	if len(path) > 0xffff {
		return nil, fmt.Errorf("%w: a device path of %d bytes", ErrMalformed, len(path))
	}
	if slices.Contains([]byte(e.Description), 0) {
		return nil, fmt.Errorf("%w: a NUL in %q", ErrMalformed, e.Description)
	}
	b = binary.LittleEndian.AppendUint32(b, e.Attributes)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(path)))
	b = appendText(b, e.Description)
	return append(append(b, path...), e.Optional...), nil
}

// cutText reads UTF-16 up to a NUL.
func cutText(p []byte) (text string, rest []byte, err error) {
	var units []uint16
	for ; len(p) >= 2; p = p[2:] {
		u := binary.LittleEndian.Uint16(p)
		if u == 0 {
			return string(utf16.Decode(units)), p[2:], nil
		}
		units = append(units, u)
	}
	return "", nil, fmt.Errorf("%w: a text without an end", ErrMalformed)
}

// appendText appends UTF-16 with a NUL.
func appendText(b []byte, text string) []byte {
	for _, u := range utf16.Encode([]rune(text)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, 0, 0)
}

// A Node is one node of a device path, section 10.3.
type Node struct {
	Type, SubType byte
	Data          []byte // without the header of four bytes
}

// Types of nodes, section 10.3.1, and the subtypes that are told apart.
const (
	hardware  = 1
	acpi      = 2
	messaging = 3
	media     = 4
	endOfPath = 0x7f

	pciDevice = 1 // of hardware

	atapi, scsi, sata, nvme, sdCard, eMMC = 1, 2, 18, 23, 26, 29 // of messaging
	macAddr, ipv4, ipv6, uri              = 11, 12, 13, 24

	hardDrive, filePath = 1, 4 // of media
)

// parsePath reads a device path up to its end node; what follows is left.
func parsePath(p []byte) ([]Node, error) {
	var nodes []Node
	for {
		if len(p) < 4 {
			return nil, fmt.Errorf("%w: a device path without an end", ErrMalformed)
		}
		size := int(binary.LittleEndian.Uint16(p[2:]))
		if size < 4 || size > len(p) {
			return nil, fmt.Errorf("%w: a node of %d bytes where %d are left", ErrMalformed, size, len(p))
		}
		n := Node{Type: p[0], SubType: p[1], Data: p[4:size]}
		if n.Type == endOfPath {
			return nodes, nil
		}
		nodes = append(nodes, n)
		p = p[size:]
	}
}

// appendPath appends a device path with its end node.
func appendPath(b []byte, nodes []Node) ([]byte, error) {
	for _, n := range nodes {
		if len(n.Data) > 0xffff-4 {
			return nil, fmt.Errorf("%w: a node of %d bytes", ErrMalformed, len(n.Data))
		}
		b = append(b, n.Type, n.SubType)
		b = binary.LittleEndian.AppendUint16(b, uint16(4+len(n.Data)))
		b = append(b, n.Data...)
	}
	return append(b, endOfPath, 0xff, 4, 0), nil
}

// has tells whether one of the nodes is of a type and one of the subtypes.
func has(nodes []Node, kind byte, sub ...byte) bool {
	return slices.ContainsFunc(nodes, func(n Node) bool { return n.Type == kind && slices.Contains(sub, n.SubType) })
}

// Network tells whether e boots from a network.
func (e Entry) Network() bool { return has(e.Path, messaging, macAddr, ipv4, ipv6, uri) }

// Disk tells whether e boots from a disk that is built in: from a partition or
// a drive, but not from USB, a disc, the network or the firmware itself.
func (e Entry) Disk() bool {
	switch {
	case e.Network():
		return false
	case has(e.Path, media, hardDrive) && !e.usb(), has(e.Path, messaging, atapi, scsi, sata, nvme, sdCard, eMMC):
		return true
	}
	// A virtio disk in OVMF is a PCI device with nothing behind it.
	bare := func(n Node) bool {
		return n.Type == acpi || n.Type == hardware && n.SubType == pciDevice
	}
	return len(e.Path) >= 2 && !slices.ContainsFunc(e.Path, func(n Node) bool { return !bare(n) })
}

// usb tells whether e names a USB device: messaging subtypes 5, 15 and 16.
func (e Entry) usb() bool { return has(e.Path, messaging, 5, 15, 16) }
