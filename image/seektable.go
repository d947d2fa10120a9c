package image

import (
	"encoding/binary"
	"hash"
	"io"

	"github.com/cespare/xxhash/v2"
)

// Parts of the seek table, section 8.
const (
	seekEntrySize  = 12
	seekFooterSize = 9
	seekFooterSums = 0x80
	seekableMagic  = 0x8f92eab1
	sumOfNothing   = 0x51d8e999
)

// A seekEntry is what the seek table says of a frame.
type seekEntry struct {
	packed int64 // length of the frame
	length int64 // bytes of the disk in it
	sum    uint32
}

func (s seekEntry) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.packed))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(s.length))
	return binary.LittleEndian.AppendUint32(dst, s.sum)
}

func appendSeekHeader(dst []byte, frames int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, seekTableMagic)
	return binary.LittleEndian.AppendUint32(dst, uint32(frames*seekEntrySize+seekFooterSize))
}

func appendSeekFooter(dst []byte, frames int) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(frames))
	dst = append(dst, seekFooterSums)
	return binary.LittleEndian.AppendUint32(dst, seekableMagic)
}

// seekTableSize returns the length of a seek table of that many frames.
func seekTableSize(frames int) int64 {
	return skippableSize + int64(frames)*seekEntrySize + seekFooterSize
}

// A seekSum is a sum over the entries of a seek table, so that a stream's
// reader can compare the table with what it has seen, without keeping it.
type seekSum struct {
	h   hash.Hash64
	buf []byte
}

func newSeekSum() *seekSum { return &seekSum{h: xxhash.New()} }

func (s *seekSum) add(e seekEntry) {
	s.buf = e.append(s.buf[:0])
	s.h.Write(s.buf)
}

// readSeekTable reads a seek table of that many frames from r and gives each
// of its entries to use.
func readSeekTable(r io.Reader, frames int, use func(seekEntry) error) error {
	want := appendSeekHeader(nil, frames)
	if err := expect(r, want); err != nil {
		return err
	}
	for range frames {
		e, err := readSeekEntry(r)
		if err != nil {
			return err
		}
		if err := use(e); err != nil {
			return err
		}
	}
	return expect(r, appendSeekFooter(nil, frames))
}

func readSeekEntry(r io.Reader) (seekEntry, error) {
	var buf [seekEntrySize]byte
	_, err := io.ReadFull(r, buf[:])
	return seekEntry{
		packed: int64(binary.LittleEndian.Uint32(buf[0:])),
		length: int64(binary.LittleEndian.Uint32(buf[4:])),
		sum:    binary.LittleEndian.Uint32(buf[8:]),
	}, streamError(err)
}

// expect reads len(want) bytes from r, which must be want.
func expect(r io.Reader, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		return streamError(err)
	}
	if string(got) != string(want) {
		return damaged("%x, want %x", got, want)
	}
	return nil
}
