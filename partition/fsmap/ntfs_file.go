package fsmap

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// ntfsMaxList is how long an attribute list may be, in bytes: the limit that
// Windows keeps (ntfs-3g, libntfs-3g/inode.c).
const ntfsMaxList = 256 << 10

// An ntfsFile is a file by its first record. A file with many attributes, or
// in many pieces, has further records; its attribute list names them all.
type ntfsFile struct {
	fs   *ntfs
	base *ntfsRecord
	list []ntfsListEntry // empty if all attributes are in base
}

// An ntfsListEntry tells which record holds one part of an attribute.
type ntfsListEntry struct {
	kind   uint32
	name   string
	lowest int64 // first cluster of the part
	record ntfsRef
}

// inNTFSRecord adds to err which record of the MFT it is about.
func inNTFSRecord(number int64, err error) error {
	return fmt.Errorf("MFT record %d: %w", number, err)
}

// open reads the file of record number, which must be in use.
func (fs *ntfs) open(number int64) (*ntfsFile, error) {
	r, err := fs.record(number)
	if err != nil {
		return nil, err
	}
	return fs.fileOf(r)
}

// openRef is open for a reference, whose sequence number must be right.
func (fs *ntfs) openRef(ref ntfsRef) (*ntfsFile, error) {
	f, err := fs.open(ref.number)
	if err != nil {
		return nil, err
	}
	if f.base.sequence != ref.sequence {
		return nil, damaged("MFT record %d has sequence number %d, want %d", ref.number, f.base.sequence, ref.sequence)
	}
	return f, nil
}

// record reads record number of the MFT.
func (fs *ntfs) record(number int64) (*ntfsRecord, error) {
	if number < 0 || number >= fs.mft.initialized/fs.recordSize {
		return nil, damaged("MFT record %d of %d", number, fs.mft.initialized/fs.recordSize)
	}
	buf := make([]byte, fs.recordSize)
	if err := fs.mft.read(buf, number*fs.recordSize); err != nil {
		return nil, inNTFSRecord(number, err)
	}
	return decodeNTFSRecord(buf, number)
}

// fileOf returns the file whose first record is base.
func (fs *ntfs) fileOf(base *ntfsRecord) (*ntfsFile, error) {
	if base.base.number != 0 {
		return nil, damaged("MFT record %d is a part of record %d", base.number, base.base.number)
	}
	f := &ntfsFile{fs: fs, base: base}
	if !slices.ContainsFunc(base.attrs, func(a ntfsAttr) bool { return a.kind == ntfsAttributeList }) {
		return f, nil
	}
	list, err := f.stream(ntfsAttributeList, "")
	if err != nil {
		return nil, err
	}
	if list.size > ntfsMaxList {
		return nil, damaged("MFT record %d: an attribute list of %d bytes", base.number, list.size)
	}
	p := make([]byte, list.size)
	if err := list.read(p, 0); err != nil {
		return nil, inNTFSRecord(base.number, err)
	}
	if f.list, err = decodeNTFSList(p); err != nil {
		return nil, inNTFSRecord(base.number, err)
	}
	return f, nil
}

// decodeNTFSList reads an attribute list.
func decodeNTFSList(p []byte) ([]ntfsListEntry, error) {
	const lengthAt, nameLengthAt, nameAt, lowestAt, recordAt, minSize = 4, 6, 7, 8, 16, 26
	var list []ntfsListEntry
	for len(p) > 0 {
		if len(p) < minSize {
			return nil, damaged("%d bytes behind the attribute list", len(p))
		}
		length := int(binary.LittleEndian.Uint16(p[lengthAt:]))
		if length < minSize || length > len(p) {
			return nil, damaged("an attribute list entry of %d bytes", length)
		}
		name, ok := ntfsSlice(p[:length], int64(p[nameAt]), 2*int64(p[nameLengthAt]))
		if !ok {
			return nil, damaged("an attribute list entry whose name lies outside")
		}
		list = append(list, ntfsListEntry{
			kind:   binary.LittleEndian.Uint32(p),
			name:   ntfsText(name),
			lowest: int64(binary.LittleEndian.Uint64(p[lowestAt:])),
			record: decodeNTFSRef(p[recordAt:]),
		})
		p = p[length:]
	}
	return list, nil
}

// stream returns the attribute of that type and name, whose bytes must be
// there as they are.
func (f *ntfsFile) stream(kind uint32, name string) (*ntfsStream, error) {
	s := &ntfsStream{fs: f.fs}
	if err := f.load(s, kind, name); err != nil {
		return nil, err
	}
	if err := s.plain(); err != nil {
		return nil, inNTFSRecord(f.base.number, err)
	}
	return s, nil
}

// value returns a small attribute that lies in the record itself.
func (f *ntfsFile) value(kind uint32) ([]byte, error) {
	s, err := f.stream(kind, "")
	if err != nil {
		return nil, err
	}
	if !s.resident {
		return nil, damaged("MFT record %d: attribute %#x is not resident", f.base.number, kind)
	}
	return s.value, nil
}

// load adds every part of the attribute to s, in order. When s is the MFT,
// each part makes the records readable that the following ones are in.
func (f *ntfsFile) load(s *ntfsStream, kind uint32, name string) error {
	err := f.addParts(s, kind, name)
	if err == nil && s.parts == 0 {
		err = damaged("attribute %#x is missing", kind)
	}
	if err == nil {
		err = s.complete()
	}
	if err != nil {
		return inNTFSRecord(f.base.number, err)
	}
	return nil
}

func (f *ntfsFile) addParts(s *ntfsStream, kind uint32, name string) error {
	if len(f.list) == 0 {
		for _, a := range f.base.attrs {
			if a.kind != kind || a.name != name {
				continue
			}
			if err := s.add(a); err != nil {
				return err
			}
		}
		return nil
	}
	for _, e := range f.list {
		if e.kind != kind || e.name != name {
			continue
		}
		a, err := f.part(e)
		if err != nil {
			return err
		}
		if err := s.add(a); err != nil {
			return err
		}
	}
	return nil
}

// part returns the part of an attribute that e points to.
func (f *ntfsFile) part(e ntfsListEntry) (ntfsAttr, error) {
	r := f.base
	if e.record.number != f.base.number {
		var err error
		if r, err = f.fs.record(e.record.number); err != nil {
			return ntfsAttr{}, err
		}
		if r.base != f.base.ref() {
			return ntfsAttr{}, damaged("MFT record %d belongs to record %d, not to %d", r.number, r.base.number, f.base.number)
		}
	}
	if r.sequence != e.record.sequence {
		return ntfsAttr{}, damaged("MFT record %d has sequence number %d, want %d", r.number, r.sequence, e.record.sequence)
	}
	for _, a := range r.attrs {
		if a.kind == e.kind && a.name == e.name && a.lowest == e.lowest {
			return a, nil
		}
	}
	return ntfsAttr{}, damaged("MFT record %d lacks attribute %#x", r.number, e.kind)
}
