package fsmap

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/crypto/blake2b"
)

// btrfsSumSize is the room for a checksum at the start of the superblock and
// of every tree block (BTRFS_CSUM_SIZE). It covers what follows.
const btrfsSumSize = 32

// A btrfsSum computes the checksum that a btrfs keeps of its metadata.
type btrfsSum func(p []byte) []byte

// newBtrfsSum returns the checksum with a number from enum btrfs_csum_type.
func newBtrfsSum(kind uint16) (btrfsSum, error) {
	switch kind {
	case 0:
		table := crc32.MakeTable(crc32.Castagnoli)
		return func(p []byte) []byte {
			return binary.LittleEndian.AppendUint32(nil, crc32.Checksum(p, table))
		}, nil
	case 1:
		return func(p []byte) []byte {
			return binary.LittleEndian.AppendUint64(nil, xxhash.Sum64(p))
		}, nil
	case 2:
		return func(p []byte) []byte { h := sha256.Sum256(p); return h[:] }, nil
	case 3:
		return func(p []byte) []byte { h := blake2b.Sum256(p); return h[:] }, nil
	}
	return nil, fmt.Errorf("checksums of type %d, which are not known", kind)
}

// verify reports whether block starts with the checksum of its rest.
func (sum btrfsSum) verify(block []byte) bool {
	return bytes.HasPrefix(block[:btrfsSumSize], sum(block[btrfsSumSize:]))
}
