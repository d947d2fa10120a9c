package bootenv

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// A fatFile is a file or a folder of a FAT file system.
type fatFile struct {
	name    string // of at most 8 characters, a dot and 3, in upper case
	data    []byte // of a file
	entries []*fatFile
	folder  bool
	cluster int // the first one; 0 if there is none
}

const (
	fatSector      = 512
	fatReserved    = 8   // sectors before the first table
	fatRootEntries = 512 // entries of the root folder, 32 sectors
	fatEntry       = 32  // bytes
	fatMinClusters = 4085 + 16
	fatMaxClusters = 65524 - 16
	fatEnd         = 0xffff
)

// A fat16 is the layout of a FAT16 file system, as in Microsoft's "FAT: General
// Overview of On-Disk Format", version 1.03. FAT16 and not FAT32, since it
// suits images from 16 MB to 2 GB with clusters that are read fast, and UEFI
// (2.10, section 13.3) asks it of removable media.
type fat16 struct {
	hidden         int64 // sectors before the file system
	clusterSectors int
	clusters       int
	tableSectors   int
	root           *fatFile
	table          []uint16
	order          []*fatFile // what has clusters, in their order
	label          string     // 11 characters
	serial         uint32
	totalSectors   int64
}

// newFAT lays out a file system for the files, by their slash-separated names.
// hidden is the number of sectors before it on the disk.
func newFAT(files []Entry, hidden int64, label string, serial uint32) (*fat16, error) {
	f := &fat16{hidden: hidden, label: fmt.Sprintf("%-11.11s", label), serial: serial, root: &fatFile{folder: true}}
	for _, e := range files {
		if err := f.root.put(strings.Split(e.Name, "/"), e.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	for f.clusterSectors = 8; f.clusterSectors <= 64; f.clusterSectors *= 2 {
		if f.needed(f.root) <= fatMaxClusters {
			f.layOut()
			return f, nil
		}
	}
	return nil, fmt.Errorf("files of %d bytes are too much for FAT16", int64(f.needed(f.root))*64*fatSector)
}

// put adds a file below a folder.
func (d *fatFile) put(names []string, data []byte) error {
	if _, err := shortName(names[0]); err != nil {
		return err
	}
	var found *fatFile
	for _, e := range d.entries {
		if e.name == names[0] {
			found = e
		}
	}
	if len(names) == 1 {
		if found != nil {
			return fmt.Errorf("is there twice")
		}
		d.entries = append(d.entries, &fatFile{name: names[0], data: data})
		return nil
	}
	if found == nil {
		found = &fatFile{name: names[0], folder: true}
		d.entries = append(d.entries, found)
	}
	return found.put(names[1:], data)
}

// shortName returns a name as a folder has it: eight characters and three.
func shortName(name string) (string, error) {
	base, ext, _ := strings.Cut(name, ".")
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
	if base == "" || len(base) > 8 || len(ext) > 3 || strings.Trim(base+ext, allowed) != "" {
		return "", fmt.Errorf("%q is not a name of eight characters, a dot and three", name)
	}
	return fmt.Sprintf("%-8s%-3s", base, ext), nil
}

// bytes returns how many bytes of clusters a file or folder takes.
func (d *fatFile) bytes() int64 {
	if d.folder {
		return int64(len(d.entries)+2) * fatEntry
	}
	return int64(len(d.data))
}

// clustersOf returns how many clusters a file or folder takes.
func (f *fat16) clustersOf(d *fatFile) int {
	size := int64(f.clusterSectors) * fatSector
	return int((d.bytes() + size - 1) / size)
}

// needed returns how many clusters all that lies below d takes.
func (f *fat16) needed(d *fatFile) int {
	n := 0
	for _, e := range d.entries {
		n += f.clustersOf(e) + f.needed(e)
	}
	return n
}

// layOut gives everything its clusters, one after the other, and leaves an
// eighth free.
func (f *fat16) layOut() {
	used := f.needed(f.root)
	f.clusters = min(max(used+used/8, fatMinClusters), fatMaxClusters)
	f.tableSectors = ((f.clusters+2)*2 + fatSector - 1) / fatSector
	f.table = make([]uint16, f.tableSectors*fatSector/2)
	f.table[0], f.table[1] = 0xfff8, fatEnd
	next := 2
	f.place(f.root, &next)
	f.totalSectors = fatReserved + 2*int64(f.tableSectors) + fatRootEntries*fatEntry/fatSector +
		int64(f.clusters)*int64(f.clusterSectors)
}

// place gives what lies in d its clusters, from next on.
func (f *fat16) place(d *fatFile, next *int) {
	for _, e := range d.entries {
		n := f.clustersOf(e)
		if n > 0 {
			e.cluster = *next
			f.order = append(f.order, e)
		}
		for i := range n {
			f.table[*next+i] = uint16(*next + i + 1)
		}
		*next += n
		if n > 0 {
			f.table[*next-1] = fatEnd
		}
		f.place(e, next)
	}
}

// size returns the bytes of the file system.
func (f *fat16) size() int64 { return f.totalSectors * fatSector }

// WriteTo writes the file system. It implements io.WriterTo.
func (f *fat16) WriteTo(w io.Writer) (int64, error) {
	out := &paddedWriter{w: w}
	out.write(f.bootSector(), fatReserved*fatSector)
	table := make([]byte, 0, 2*len(f.table))
	for _, entry := range f.table {
		table = binary.LittleEndian.AppendUint16(table, entry)
	}
	out.write(table, len(table))
	out.write(table, len(table))
	out.write(append(f.labelEntry(), f.folder(f.root)...), fatRootEntries*fatEntry)
	cluster := f.clusterSectors * fatSector
	for _, e := range f.order {
		data := e.data
		if e.folder {
			data = f.folder(e)
		}
		out.write(data, f.clustersOf(e)*cluster)
	}
	for range f.clusters - f.needed(f.root) {
		out.write(nil, cluster)
	}
	return out.n, out.err
}

// bootSector returns the first sector, with the parameters of the file system.
func (f *fat16) bootSector() []byte {
	b := make([]byte, 0, fatSector)
	le := binary.LittleEndian
	b = append(b, "\xeb\x3c\x90SLIPCAST"...)
	b = le.AppendUint16(b, fatSector)
	b = append(b, byte(f.clusterSectors))
	b = le.AppendUint16(b, fatReserved)
	b = append(b, 2)
	b = le.AppendUint16(b, fatRootEntries)
	small, large := uint16(0), uint32(f.totalSectors)
	if f.totalSectors < 1<<16 {
		small, large = uint16(f.totalSectors), 0
	}
	b = le.AppendUint16(b, small)
	b = append(b, 0xf8) // a fixed disk
	b = le.AppendUint16(b, uint16(f.tableSectors))
	b = le.AppendUint16(b, 63)
	b = le.AppendUint16(b, 255)
	b = le.AppendUint32(b, uint32(f.hidden))
	b = le.AppendUint32(b, large)
	b = append(b, 0x80, 0, 0x29)
	b = le.AppendUint32(b, f.serial)
	b = append(b, f.label...)
	b = append(b, "FAT16   "...)
	b = append(b, 0xf4, 0xeb, 0xfd) // hlt; jmp to it: no BIOS starts this
	b = b[:fatSector]
	b[510], b[511] = 0x55, 0xaa
	return b
}

// labelEntry returns the entry of the root folder that has the volume's name.
func (f *fat16) labelEntry() []byte {
	e := make([]byte, fatEntry)
	copy(e, f.label)
	e[11] = 0x08
	putDate(e)
	return e
}

// folder returns the entries of a folder; those of all but the root begin with
// itself and the one above.
func (f *fat16) folder(d *fatFile) []byte {
	var b []byte
	if d != f.root {
		b = append(b, dirEntry(".          ", true, d.cluster, 0)...)
		b = append(b, dirEntry("..         ", true, f.above(f.root, d), 0)...)
	}
	for _, e := range d.entries {
		name, err := shortName(e.name)
		if err != nil {
			panic(err) // put has checked it
		}
		b = append(b, dirEntry(name, e.folder, e.cluster, len(e.data))...)
	}
	return b
}

// above returns the first cluster of the folder that d lies in, looked for
// below top; 0 is the root.
func (f *fat16) above(top, d *fatFile) int {
	for _, e := range top.entries {
		if e == d {
			return top.cluster
		}
		if e.folder {
			if cluster := f.above(e, d); cluster > 0 {
				return cluster
			}
		}
	}
	return 0
}

// dirEntry returns an entry of a folder.
func dirEntry(name string, folder bool, cluster, size int) []byte {
	e := make([]byte, fatEntry)
	copy(e, name)
	if folder {
		e[11], size = 0x10, 0
	}
	putDate(e)
	binary.LittleEndian.PutUint16(e[26:], uint16(cluster))
	binary.LittleEndian.PutUint32(e[28:], uint32(size))
	return e
}

// putDate gives an entry the earliest date that there is, 1 January 1980, so
// that the same files make the same image.
func putDate(e []byte) {
	const day = 0<<9 | 1<<5 | 1
	for _, at := range []int{16, 18, 24} {
		binary.LittleEndian.PutUint16(e[at:], day)
	}
}

// A paddedWriter writes pieces that are filled up with zeros, and keeps the
// first error.
type paddedWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (p *paddedWriter) write(data []byte, size int) {
	for _, piece := range [][]byte{data, make([]byte, size-len(data))} {
		if p.err == nil {
			var n int
			n, p.err = p.w.Write(piece)
			p.n += int64(n)
		}
	}
}
