package bootenv

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrOldGRUB reports a GRUB that cannot be used for network boot: before 2.12
// it asks the DHCP server for files, not the proxy that answered, and has no
// HTTP.
var ErrOldGRUB = errors.New("this GRUB is too old for network boot")

// A GRUB is what is known about a GRUB from its file.
type GRUB struct {
	Version string   // of the upstream release, "2.12"
	Modules []string // that are built in, sorted: "http", "tftp"
}

// ReadGRUB reads the version of a GRUB from its .sbat section, and the names
// of the modules that are built into it from its section mods. An error wraps
// [ErrNotProgram] where the program is not a GRUB of 64 bits.
func ReadGRUB(p *Program) (GRUB, error) {
	components, err := ParseSBAT(p.Section(".sbat"))
	if err != nil {
		return GRUB{}, err
	}
	var g GRUB
	for _, c := range components {
		if c.Name == "grub" {
			g.Version = c.Version
		}
	}
	if g.Version == "" {
		return GRUB{}, fmt.Errorf("%w: its SBAT data names no GRUB", ErrNotProgram)
	}
	g.Modules, err = grubModules(p.Section("mods"))
	return g, err
}

// Check tells whether network boot works with this GRUB. The error wraps
// [ErrOldGRUB].
func (g GRUB) Check() error {
	if !atLeast(g.Version, 2, 12) {
		return fmt.Errorf("%w: version %.40q, want 2.12 or newer", ErrOldGRUB, g.Version)
	}
	for _, name := range []string{"http", "tftp"} {
		if !slices.Contains(g.Modules, name) {
			return fmt.Errorf("%w: version %.40q without the module %s", ErrOldGRUB, g.Version, name)
		}
	}
	return nil
}

// atLeast compares the first two numbers of a version. A candidate of a
// release (2.12~rc1) is not yet that release.
func atLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(rest[:digits])
	if errA != nil || errB != nil {
		return false
	}
	candidate := strings.HasPrefix(rest[digits:], "~") || strings.HasPrefix(rest[digits:], "rc")
	return a > major || a == major && (b > minor || b == minor && !candidate)
}

// grubModules returns the names of the modules in a mods section of a GRUB of
// 64 bits. By include/grub/kernel.h it starts with grub_module_info64: the
// bytes "mimg", four of padding, the offset of the first entry, and the size of
// all of it, eight bytes each. An entry starts with its type and its size, four
// bytes each; type 0 is an ELF object, whose section .modname has its name.
func grubModules(section []byte) ([]string, error) {
	le := binary.LittleEndian
	if len(section) < 24 || string(section[:4]) != "mimg" {
		return nil, fmt.Errorf("%w: no modules of GRUB", ErrNotProgram)
	}
	first, size := le.Uint64(section[8:]), le.Uint64(section[16:])
	if size > uint64(len(section)) || first > size {
		return nil, fmt.Errorf("%w: %d bytes of GRUB's modules", ErrNotProgram, size)
	}
	var names []string
	for rest := section[first:size]; len(rest) >= 8; {
		kind, length := le.Uint32(rest), int64(le.Uint32(rest[4:]))
		if length < 8 || length > int64(len(rest)) {
			return nil, fmt.Errorf("%w: a module of GRUB of %d bytes", ErrNotProgram, length)
		}
		if kind == 0 {
			name, err := grubModuleName(rest[8:length])
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
		rest = rest[length:]
	}
	slices.Sort(names)
	return names, nil
}

// grubModuleName returns the name of a module from its ELF object.
func grubModuleName(object []byte) (string, error) {
	f, err := elf.NewFile(bytes.NewReader(object))
	if err != nil {
		return "", fmt.Errorf("%w: a module of GRUB: %w", ErrNotProgram, err)
	}
	section := f.Section(".modname")
	if section == nil || section.Size > 256 {
		return "", fmt.Errorf("%w: a module of GRUB without a name", ErrNotProgram)
	}
	name, err := section.Data()
	if err != nil {
		return "", fmt.Errorf("%w: a module of GRUB: %w", ErrNotProgram, err)
	}
	return cString(name), nil
}
