package uefi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Vars is the folder where efivarfs is mounted.
type Vars string

// Mounted is where efivarfs is mounted by custom.
const Mounted Vars = "/sys/firmware/efi/efivars"

// ErrNoVariable reports a variable that is not there.
var ErrNoVariable = errors.New("no such variable")

// globalGUID is the vendor of the variables that the specification defines,
// section 3.3.
const globalGUID = "8be4df61-93ca-11d2-aa0d-00e098032b8c"

// Attributes of variables, section 8.2.1.
const (
	nonVolatile    = 1 << 0
	bootService    = 1 << 1
	runtimeService = 1 << 2
	lasting        = nonVolatile | bootService | runtimeService
)

// longest is how long a variable may be that we read, in bytes. Boot entries
// have some hundred.
const longest = 64 << 10

// path returns the file of a variable.
func (v Vars) path(name string) string {
	return filepath.Join(string(v), name+"-"+globalGUID)
}

// read returns the contents of a variable, without its attributes.
func (v Vars) read(name string) ([]byte, error) {
	f, err := os.Open(v.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNoVariable)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, longest+1))
	switch {
	case err != nil:
		return nil, err
	case len(p) < 4 || len(p) > longest:
		return nil, fmt.Errorf("%s: %d bytes are no variable", name, len(p))
	}
	return p[4:], nil
}

// write sets a variable and reads it back: firmware has been seen to take what
// it does not keep.
func (v Vars) write(name string, data []byte) error {
	if old, err := v.read(name); err == nil && string(old) == string(data) {
		return nil // the memory behind it wears out
	}
	if err := v.writeFile(name, data); err != nil {
		if errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("%s: the firmware has no room for variables left", name)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	got, err := v.read(name)
	if err != nil {
		return err
	}
	if string(got) != string(data) {
		return fmt.Errorf("%s: the firmware did not keep what was written", name)
	}
	return nil
}

// writeFile writes a variable with its attributes, which must be one write.
func (v Vars) writeFile(name string, data []byte) error {
	path := v.path(name)
	if err := mutable(path); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	p := binary.LittleEndian.AppendUint32(nil, lasting)
	_, err = f.Write(append(p, data...))
	if err == nil {
		// A variable takes the length that is written; a plain file does not.
		if terr := f.Truncate(int64(len(p) + len(data))); terr != nil && !errors.Is(terr, unix.EINVAL) && !errors.Is(terr, unix.EPERM) && !errors.Is(terr, unix.EOPNOTSUPP) {
			err = terr
		}
	}
	return errors.Join(err, f.Close())
}

// immutable is FS_IMMUTABLE_FL of linux/fs.h.
const immutable = 0x10

// mutable takes the flag off a variable that guards it against rm -r.
func mutable(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&immutable == 0 {
		return nil // a file system without such flags
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutable)
}

// number reads a variable that holds one 16-bit number.
func (v Vars) number(name string) (uint16, error) {
	p, err := v.read(name)
	if err != nil {
		return 0, err
	}
	if len(p) != 2 {
		return 0, fmt.Errorf("%s: %d bytes, want 2", name, len(p))
	}
	return binary.LittleEndian.Uint16(p), nil
}

// Order returns BootOrder: the numbers of the entries that the firmware tries
// in turn. Without the variable there are none.
func (v Vars) Order() ([]uint16, error) {
	p, err := v.read("BootOrder")
	if errors.Is(err, ErrNoVariable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if len(p)%2 != 0 {
		return nil, fmt.Errorf("BootOrder: %d bytes, want an even number", len(p))
	}
	order := make([]uint16, 0, len(p)/2)
	for ; len(p) > 0; p = p[2:] {
		order = append(order, binary.LittleEndian.Uint16(p))
	}
	return order, nil
}

// setOrder writes BootOrder.
func (v Vars) setOrder(order []uint16) error {
	var p []byte
	for _, n := range order {
		p = binary.LittleEndian.AppendUint16(p, n)
	}
	return v.write("BootOrder", p)
}

// setNext writes BootNext: the entry that is booted once.
func (v Vars) setNext(n uint16) error {
	return v.write("BootNext", binary.LittleEndian.AppendUint16(nil, n))
}

// Entry reads the boot entry of that number. The error wraps [ErrNoVariable]
// if there is none, and [ErrMalformed] if it is no entry.
func (v Vars) Entry(n uint16) (Entry, error) {
	p, err := v.read(entryName(n))
	if err != nil {
		return Entry{}, err
	}
	e, err := ParseEntry(p)
	if err != nil {
		return Entry{}, fmt.Errorf("%s: %w", entryName(n), err)
	}
	e.Number = n
	return e, nil
}

// setEntry writes the boot entry of e's number.
func (v Vars) setEntry(e Entry) error {
	p, err := e.AppendBinary(nil)
	if err != nil {
		return err
	}
	return v.write(entryName(e.Number), p)
}

// entryName returns the variable of a boot entry, section 3.3: four digits in
// upper case.
func entryName(n uint16) string { return fmt.Sprintf("Boot%04X", n) }
