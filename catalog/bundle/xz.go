package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// openXZ returns the plain bytes of the first block of an .xz file, which is all of one
// that is as small as a package's control.tar: dpkg begins another after 24 MiB.
// The checksum is left to dpkg. Unlike package xz this takes no more memory
// than maxControlDict, whatever the block asks for.
func openXZ(r io.Reader) (io.Reader, error) {
	var head [13]byte // the stream's header, and the length of the block's
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:6]) != "\xfd7zXZ\x00" {
		return nil, errors.New("not an xz file")
	}
	if head[12] == 0 {
		return bytes.NewReader(nil), nil // an index: there is no block
	}
	block := make([]byte, 4*int(head[12])+3) // without the length itself
	if _, err := io.ReadFull(r, block); err != nil {
		return nil, errors.New("xz: ends early")
	}
	dict, err := xzDictionary(block)
	if err != nil {
		return nil, err
	}
	if dict > maxControlDict {
		return nil, fmt.Errorf("xz: a dictionary of %d bytes, at most %d are allowed", dict, maxControlDict)
	}
	return lzma.Reader2Config{DictCap: max(dict, lzma.MinDictCap)}.NewReader2(r)
}

// xzDictionary returns the size of the dictionary that the header of a block
// asks for: The .xz File Format 1.2.1, sections 3.1 and 5.3.1. It begins behind
// the length of the header.
func xzDictionary(block []byte) (int, error) {
	flags, rest := block[0], block[1:]
	if flags&0x3f != 0 {
		return 0, fmt.Errorf("xz: block flags %#x, want one filter", flags)
	}
	for _, there := range []bool{flags&0x40 != 0, flags&0x80 != 0} { // sizes of the block
		if !there {
			continue
		}
		_, n := binary.Uvarint(rest)
		if n <= 0 {
			return 0, errors.New("xz: size in the header of a block")
		}
		rest = rest[n:]
	}
	if len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 || rest[2] > 37 {
		return 0, errors.New("xz: want the filter LZMA2 with a dictionary below 2 GiB")
	}
	bits := rest[2]
	return (2 | int(bits&1)) << (bits/2 + 11), nil
}
