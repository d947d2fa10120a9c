package bootenv

import (
	"bytes"
	"cmp"
	"crypto"
	_ "crypto/sha256" // for Digest
	_ "crypto/sha512" // for Digest
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrNotProgram reports a file that is no EFI program, or a damaged one.
var ErrNotProgram = errors.New("not an EFI program")

// A Program is an EFI program: a boot loader, or a kernel that firmware can
// start. It is a file in the PE format, whose fields the comments here name as
// Microsoft's "PE Format" does.
type Program struct {
	Arch string // in Debian's words: "amd64", "arm64" or "i386"

	data     []byte
	checksum int // where the field CheckSum is
	certDir  int // where the entry of the certificate table is in the data directory, 0 if there is none
	headers  int // SizeOfHeaders
	sections []section
	certs    []byte // the certificate table, at the end of data
}

// A section is one section of a program.
type section struct {
	name         string
	offset, size int // in the file
	used         int // VirtualSize: what is behind it is padding
}

// peArch names the machines that we boot.
var peArch = map[uint16]string{0x8664: "amd64", 0xaa64: "arm64", 0x14c: "i386"}

// ParseProgram reads the headers of an EFI program. The program keeps data,
// which must not be changed after. An error wraps [ErrNotProgram].
func ParseProgram(data []byte) (*Program, error) {
	p := &Program{data: data}
	coff, err := p.findHeader()
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	optional := coff + 20
	optionalSize := int(le.Uint16(data[coff+16:]))
	if err := p.parseOptional(optional, optionalSize); err != nil {
		return nil, err
	}
	table := optional + optionalSize
	names := p.stringTable(int64(le.Uint32(data[coff+8:])), int64(le.Uint32(data[coff+12:])))
	for i := range int(le.Uint16(data[coff+2:])) {
		if err := p.parseSection(table+i*40, names); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// findHeader returns where the COFF header is, and takes the machine from it.
func (p *Program) findHeader() (int, error) {
	if len(p.data) < 0x40 || string(p.data[:2]) != "MZ" {
		return 0, fmt.Errorf("%w: no MZ at its start", ErrNotProgram)
	}
	start := int64(binary.LittleEndian.Uint32(p.data[0x3c:]))
	if start+24 > int64(len(p.data)) || string(p.data[start:start+4]) != "PE\x00\x00" {
		return 0, fmt.Errorf("%w: no PE header", ErrNotProgram)
	}
	machine := binary.LittleEndian.Uint16(p.data[start+4:])
	if p.Arch = peArch[machine]; p.Arch == "" {
		return 0, fmt.Errorf("%w: machine %#x", ErrNotProgram, machine)
	}
	return int(start) + 4, nil
}

// parseOptional reads the optional header, of size bytes at offset start.
func (p *Program) parseOptional(start, size int) error {
	le := binary.LittleEndian
	if size < 2 || start+size > len(p.data) {
		return fmt.Errorf("%w: optional header of %d bytes", ErrNotProgram, size)
	}
	directory := 112 // in PE32+
	switch magic := le.Uint16(p.data[start:]); magic {
	case 0x10b: // PE32
		directory = 96
	case 0x20b:
	default:
		return fmt.Errorf("%w: optional header of kind %#x", ErrNotProgram, magic)
	}
	if size < directory {
		return fmt.Errorf("%w: optional header of %d bytes", ErrNotProgram, size)
	}
	p.checksum = start + 64
	headers := int64(le.Uint32(p.data[start+60:]))
	if headers < int64(start+size) || headers > int64(len(p.data)) {
		return fmt.Errorf("%w: %d bytes of headers in %d", ErrNotProgram, headers, len(p.data))
	}
	p.headers = int(headers)
	const certificates = 4 // index in the data directory
	if le.Uint32(p.data[start+directory-4:]) <= certificates || size < directory+8*(certificates+1) {
		return nil
	}
	p.certDir = start + directory + 8*certificates
	return p.parseCertificateTable()
}

// parseCertificateTable finds the certificate table. It must be the end of the
// file, as it is in everything that is signed: data behind it would be signed
// for by nobody.
func (p *Program) parseCertificateTable() error {
	offset := int64(binary.LittleEndian.Uint32(p.data[p.certDir:]))
	size := int64(binary.LittleEndian.Uint32(p.data[p.certDir+4:]))
	if size == 0 {
		return nil
	}
	if offset < int64(p.headers) || offset+size != int64(len(p.data)) {
		return fmt.Errorf("%w: certificate table of %d bytes at %d in a file of %d", ErrNotProgram, size, offset, len(p.data))
	}
	p.certs = p.data[offset:]
	return nil
}

// stringTable returns the table of names that are longer than eight bytes,
// which lies behind the symbols. It is nil if there is none.
func (p *Program) stringTable(symbols, count int64) []byte {
	start := symbols + count*18
	if symbols == 0 || start > int64(len(p.data)) {
		return nil
	}
	return p.data[start:]
}

// parseSection reads one entry of the section table.
func (p *Program) parseSection(at int, names []byte) error {
	if at+40 > p.headers {
		return fmt.Errorf("%w: its section table is longer than its headers", ErrNotProgram)
	}
	le := binary.LittleEndian
	header := p.data[at : at+40]
	size, offset := int64(le.Uint32(header[16:])), int64(le.Uint32(header[20:]))
	s := section{name: sectionName(header[:8], names), used: int(min(size, int64(le.Uint32(header[8:]))))}
	if size > 0 && (offset < int64(p.headers) || offset+size > int64(len(p.data)-len(p.certs))) {
		return fmt.Errorf("%w: section %q of %d bytes at %d", ErrNotProgram, s.name, size, offset)
	}
	s.offset, s.size = int(offset), int(size)
	p.sections = append(p.sections, s)
	return nil
}

// sectionName reads a name: up to eight bytes, or a slash and the place of the
// name in the string table.
func sectionName(field, names []byte) string {
	name := cString(field)
	number, long := strings.CutPrefix(name, "/")
	if !long {
		return name
	}
	if at, err := strconv.Atoi(number); err == nil && 0 <= at && at < len(names) {
		return cString(names[at:min(at+256, len(names))])
	}
	return name
}

// cString returns the text before the first zero byte.
func cString(p []byte) string {
	before, _, _ := bytes.Cut(p, []byte{0})
	return string(before)
}

// Section returns the content of the first section of that name, nil if there
// is none. It shares memory with the program.
func (p *Program) Section(name string) []byte {
	for _, s := range p.sections {
		if s.name == name {
			return p.data[s.offset:][:s.used:s.used]
		}
	}
	return nil
}

// Digest returns the Authenticode digest of the program: that of the file
// without its checksum and its signatures, as section "Calculating the PE
// Image Hash" of Microsoft's "Windows Authenticode Portable Executable
// Signature Format" has it, and as firmware does it. hash must be SHA-256, -384
// or -512.
func (p *Program) Digest(hash crypto.Hash) []byte {
	h := hash.New()
	h.Write(p.data[:p.checksum])
	rest := p.checksum + 4
	if p.certDir != 0 {
		h.Write(p.data[rest:p.certDir])
		rest = p.certDir + 8
	}
	h.Write(p.data[rest:p.headers])
	sections := slices.Clone(p.sections)
	slices.SortStableFunc(sections, func(a, b section) int { return cmp.Compare(a.offset, b.offset) })
	hashed := p.headers
	for _, s := range sections {
		if s.size == 0 {
			continue // its offset may be anything
		}
		h.Write(p.data[s.offset:][:s.size])
		hashed += s.size
	}
	if end := len(p.data) - len(p.certs); hashed < end {
		h.Write(p.data[hashed:end])
	}
	return h.Sum(nil)
}
