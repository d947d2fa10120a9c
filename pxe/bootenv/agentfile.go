package bootenv

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrNotAgent reports a program that cannot be /init: it is not a static
// program of the right architecture.
var ErrNotAgent = errors.New("cannot be the agent")

// maxAgent is the most bytes that the agent may have.
const maxAgent = 256 << 20

// readAgent reads the program at a path, checks that it can be /init on arch,
// and returns it without its symbols.
func readAgent(name string, arch Arch) ([]byte, error) {
	data, err := readFile(name, maxAgent)
	if err != nil {
		return nil, err
	}
	stripped, err := stripAgent(data, arch)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return stripped, nil
}

// stripAgent checks a program and returns what of it is loaded, see elf(5):
// all up to the end of the last segment that is. Symbols and the table of
// sections stand behind that, and nothing that runs looks at them.
func stripAgent(data []byte, arch Arch) ([]byte, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAgent, err)
	}
	want := machine(arch)
	if f.Class != elf.ELFCLASS64 || f.ByteOrder != binary.LittleEndian || f.Machine != want {
		return nil, fmt.Errorf("%w: it is for %v, not %v", ErrNotAgent, f.Machine, want)
	}
	end, err := loadedEnd(f, int64(len(data)))
	if err != nil {
		return nil, err
	}
	stripped := bytes.Clone(data[:end])
	// e_shoff, and e_shentsize, e_shnum and e_shstrndx
	clear(stripped[0x28:0x30])
	clear(stripped[0x3a:0x40])
	return stripped, nil
}

// machine returns an architecture in the words of elf(5).
func machine(arch Arch) elf.Machine {
	if arch == ARM64 {
		return elf.EM_AARCH64
	}
	return elf.EM_X86_64
}

// elfHeader is the size of the header of a 64-bit ELF file.
const elfHeader = 64

// loadedEnd returns where the last loaded segment of a static program ends.
func loadedEnd(f *elf.File, size int64) (int64, error) {
	end := int64(elfHeader)
	for _, p := range f.Progs {
		switch {
		case p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC:
			return 0, fmt.Errorf("%w: it is not static; build it with CGO_ENABLED=0", ErrNotAgent)
		case p.Off > uint64(size) || p.Filesz > uint64(size)-p.Off:
			return 0, fmt.Errorf("%w: it ends early", ErrNotAgent)
		case p.Type == elf.PT_LOAD || p.Type == elf.PT_NOTE || p.Type == elf.PT_PHDR:
			end = max(end, int64(p.Off+p.Filesz))
		}
	}
	if f.Type != elf.ET_EXEC || end == elfHeader {
		return 0, fmt.Errorf("%w: it is of type %v, not a static program", ErrNotAgent, f.Type)
	}
	return end, nil
}
