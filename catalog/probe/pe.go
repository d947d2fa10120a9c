package probe

import (
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxVersionInfo is how many bytes a version resource may have.
const maxVersionInfo = 64 << 10

// errPE says that a Windows program is damaged, or is none.
var errPE = errors.New("not a sound Windows program")

// pe returns the file version of a Windows program; empty if the file, or a
// version in it, is not there.
func (p *Probes) pe(name string) (any, error) {
	f, err := p.open(name)
	if f == nil {
		return "", err
	}
	defer f.Close()
	v, err := fileVersion(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// fileVersion reads the version resource of a program: Microsoft's PE format,
// "The .rsrc Section".
func fileVersion(r io.ReaderAt) (v string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPE, r)
		}
	}()
	f, err := pe.NewFile(r)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errPE, err)
	}
	directory := resourceDirectory(f)
	if directory.Size == 0 {
		return "", nil
	}
	section, base := sectionAt(f, directory.VirtualAddress)
	if section == nil {
		return "", fmt.Errorf("%w: resources outside of all sections", errPE)
	}
	place, size, err := resource(section, base)
	if err != nil || size == 0 {
		return "", err
	}
	data, start := sectionAt(f, place)
	if data == nil || size > maxVersionInfo {
		return "", fmt.Errorf("%w: a version resource of %d bytes at %#x", errPE, size, place)
	}
	info := make([]byte, size)
	if _, err := data.ReadAt(info, int64(start)); err != nil {
		return "", fmt.Errorf("%w: version resource: %w", errPE, err)
	}
	return fixedFileInfo(info)
}

// resourceDirectory returns where the resources are; a size of 0 is nowhere.
func resourceDirectory(f *pe.File) pe.DataDirectory {
	const index = pe.IMAGE_DIRECTORY_ENTRY_RESOURCE
	switch h := f.OptionalHeader.(type) {
	case *pe.OptionalHeader32:
		if h.NumberOfRvaAndSizes > index {
			return h.DataDirectory[index]
		}
	case *pe.OptionalHeader64:
		if h.NumberOfRvaAndSizes > index {
			return h.DataDirectory[index]
		}
	}
	return pe.DataDirectory{}
}

// sectionAt returns the section that an address lies in, and where in it.
func sectionAt(f *pe.File, address uint32) (*pe.Section, uint32) {
	for _, s := range f.Sections {
		if address >= s.VirtualAddress && address-s.VirtualAddress < s.Size {
			return s, address - s.VirtualAddress
		}
	}
	return nil, 0
}

// resource returns the address and the size of the first version resource, in
// whatever language; a size of 0 is none. The tree has three levels: type,
// name, language.
func resource(section io.ReaderAt, base uint32) (address, size uint32, err error) {
	const versionType, subdirectory = 16, 1 << 31
	at, err := entry(section, base, 0, versionType)
	for range 2 {
		if err != nil || at == 0 {
			return 0, 0, err
		}
		if at&subdirectory == 0 {
			return 0, 0, fmt.Errorf("%w: a version resource without a name or a language", errPE)
		}
		at, err = entry(section, base, at&^subdirectory, -1)
	}
	if err != nil || at == 0 {
		return 0, 0, err
	}
	var leaf [16]byte
	if _, err := section.ReadAt(leaf[:], int64(base)+int64(at)); at&subdirectory != 0 || err != nil {
		return 0, 0, fmt.Errorf("%w: a version resource at %#x: %w", errPE, at, err)
	}
	return binary.LittleEndian.Uint32(leaf[:]), binary.LittleEndian.Uint32(leaf[4:]), nil
}

// entry returns where the entry id of a directory leads to, the first for -1,
// and 0 if there is none.
func entry(section io.ReaderAt, base, directory uint32, id int64) (uint32, error) {
	var head [16]byte
	start := int64(base) + int64(directory)
	if _, err := section.ReadAt(head[:], start); err != nil {
		return 0, fmt.Errorf("%w: resource directory: %w", errPE, err)
	}
	count := int(binary.LittleEndian.Uint16(head[12:])) + int(binary.LittleEndian.Uint16(head[14:]))
	entries := make([]byte, 8*count) // at most 1 MiB
	if _, err := section.ReadAt(entries, start+16); err != nil && count > 0 {
		return 0, fmt.Errorf("%w: resource directory: %w", errPE, err)
	}
	for ; len(entries) > 0; entries = entries[8:] {
		if id < 0 || int64(binary.LittleEndian.Uint32(entries)) == id {
			return binary.LittleEndian.Uint32(entries[4:]), nil
		}
	}
	return 0, nil
}

// fixedFileInfo reads VS_VERSIONINFO: its length, that of its value and its
// type (2 bytes each), its name in UTF-16, padding up to 4 bytes, and as its
// value a VS_FIXEDFILEINFO, whose third and fourth number are the version.
func fixedFileInfo(p []byte) (string, error) {
	const name, signature = "V\x00S\x00_\x00V\x00E\x00R\x00S\x00I\x00O\x00N\x00_\x00I\x00N\x00F\x00O\x00\x00\x00", 0xfeef04bd
	const start = (6 + len(name) + 3) &^ 3
	if len(p) < start+52 || string(p[6:6+len(name)]) != name {
		return "", fmt.Errorf("%w: no VS_VERSION_INFO in %d bytes", errPE, len(p))
	}
	value := p[start:]
	if n := binary.LittleEndian.Uint16(p[2:]); n == 0 {
		return "", nil // texts alone
	}
	if binary.LittleEndian.Uint32(value) != signature {
		return "", fmt.Errorf("%w: no VS_FIXEDFILEINFO", errPE)
	}
	high, low := binary.LittleEndian.Uint32(value[8:]), binary.LittleEndian.Uint32(value[12:])
	return fmt.Sprintf("%d.%d.%d.%d", high>>16, high&0xffff, low>>16, low&0xffff), nil
}
