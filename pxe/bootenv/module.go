package bootenv

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxModule is the most bytes that a kernel module may have. The largest of
// Debian 13, amdgpu, has 30 MB.
const maxModule = 256 << 20

// A Module is one loadable module of a kernel.
type Module struct {
	Path     string   // below the modules folder, without a suffix of compression: kernel/fs/fat/fat.ko
	Name     string   // as the kernel says it, with underscores
	Aliases  []string // patterns of the modaliases that it is for
	Depends  []string // names of the modules that it needs
	Softdeps []string // "pre: NAME... post: NAME..."
	Firmware []string // names of the files that it may ask for
	Vermagic string   // begins with the kernel's version

	load func() ([]byte, error) // of the module, uncompressed
}

// readModule decompresses the module in the file of that name and reads its
// .modinfo. Any error wraps [ErrMalformed].
func readModule(file string, packed []byte) (*Module, error) {
	raw, err := unpackModule(file, packed)
	if err != nil {
		return nil, err
	}
	info, err := modinfo(raw)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", file, err)
	}
	m := &Module{Path: trimCompression(file)}
	m.Name = moduleName(m.Path)
	for _, field := range strings.Split(info, "\x00") {
		key, value, _ := strings.Cut(field, "=")
		m.set(key, value)
	}
	return m, nil
}

// set takes one field of .modinfo.
func (m *Module) set(key, value string) {
	switch key {
	case "alias":
		m.Aliases = append(m.Aliases, value)
	case "depends":
		for name := range strings.SplitSeq(value, ",") {
			if name != "" {
				m.Depends = append(m.Depends, canonical(name))
			}
		}
	case "softdep":
		m.Softdeps = append(m.Softdeps, value)
	case "firmware":
		m.Firmware = append(m.Firmware, value)
	case "vermagic":
		m.Vermagic = value
	}
}

// modinfo returns the section .modinfo of an ELF file of 64 bits, see elf(5):
// texts KEY=VALUE with a zero after each. Package debug/elf is not for files
// that may be damaged: it can take seconds for one.
func modinfo(raw []byte) (string, error) {
	const magic = "\x7fELF\x02\x01" // 64 bits, little-endian
	if len(raw) < elfHeader || string(raw[:len(magic)]) != magic {
		return "", fmt.Errorf("%w: no ELF file of 64 bits", ErrMalformed)
	}
	le := binary.LittleEndian
	table := part(raw, le.Uint64(raw[0x28:]), uint64(le.Uint16(raw[0x3c:]))*elfSection)
	if le.Uint16(raw[0x3a:]) != elfSection || len(table) == 0 {
		return "", fmt.Errorf("%w: no table of sections", ErrMalformed)
	}
	content := func(section []byte) []byte { return part(raw, le.Uint64(section[24:]), le.Uint64(section[32:])) }
	named := uint64(le.Uint16(raw[0x3e:])) * elfSection
	names := content(append(part(table, named, elfSection), make([]byte, elfSection)...))
	for section := range slices.Chunk(table, elfSection) {
		name := uint64(le.Uint32(section))
		if string(part(names, name, uint64(len(modinfoSection)))) == modinfoSection {
			return string(content(section)), nil
		}
	}
	return "", fmt.Errorf("%w: no section .modinfo", ErrMalformed)
}

const (
	elfSection     = 64 // bytes of an entry in the table of sections
	modinfoSection = ".modinfo\x00"
)

// part returns size bytes of p from an offset, or nothing if they are not all
// there. Its capacity is its length.
func part(p []byte, offset, size uint64) []byte {
	if offset > uint64(len(p)) || size > uint64(len(p))-offset {
		return nil
	}
	return p[offset : offset+size : offset+size]
}

// unpackModule decompresses a module as the end of its file's name says.
func unpackModule(file string, packed []byte) ([]byte, error) {
	raw, err := decompressed(file, packed, maxModule)
	if err != nil {
		return nil, fmt.Errorf("module %w", err)
	}
	return raw, nil
}

// decompressed decompresses a file of at most limit bytes as the end of its
// name says.
func decompressed(file string, packed []byte, limit int64) ([]byte, error) {
	r, end, err := decompressor(file, packed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrMalformed, err)
	}
	defer end()
	raw, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", file, ErrMalformed, err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", file, ErrMalformed, limit)
	}
	return raw, nil
}

// decompressor returns the plain text of a file, and a function that frees
// what that takes.
func decompressor(file string, packed []byte) (r io.Reader, end func(), err error) {
	end = func() {}
	r = bytes.NewReader(packed)
	switch path.Ext(file) {
	case ".xz":
		r, err = xz.NewReader(r)
	case ".gz":
		r, err = gzip.NewReader(r)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxModule)); err == nil {
			r, end = d, d.Close
		}
	}
	return r, end, err
}

// isModule tells whether a file is a module by its name.
func isModule(file string) bool {
	return strings.HasSuffix(trimCompression(file), ".ko")
}

// trimCompression returns a file's name without a suffix of compression.
func trimCompression(file string) string {
	for _, suffix := range []string{".xz", ".zst", ".gz"} {
		if short, found := strings.CutSuffix(file, suffix); found {
			return short
		}
	}
	return file
}

// moduleName returns the name of the module in a file.
func moduleName(file string) string {
	return canonical(strings.TrimSuffix(path.Base(trimCompression(file)), ".ko"))
}

// canonical returns the name of a module as the kernel says it.
func canonical(name string) string {
	return strings.ReplaceAll(strings.TrimSpace(name), "-", "_")
}
