package fsmap

import (
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	ntfsNames         = "$I30"   // name of the index of a directory
	ntfsFileName      = 0x30     // what it sorts by
	ntfsMaxIndexBlock = 64 << 10 // bytes; Windows writes 4 KiB
	ntfsMaxIndex      = 1 << 30  // bytes of index that are searched, some six million names
)

// findInRoot looks for names in the root directory, in any case. The names
// are in lower case and ASCII; the result tells the files of each one.
//
// The index is a tree. It is not descended: its blocks are read in the order
// in which they are stored, those that are in use. That needs no trust in the
// order of the names, and a tree with a loop does no harm.
func (fs *ntfs) findInRoot(names []string) (map[string][]ntfsRef, error) {
	file, err := fs.open(ntfsFileRoot)
	if err != nil {
		return nil, err
	}
	root, err := file.stream(ntfsIndexRoot, ntfsNames)
	if err != nil {
		return nil, err
	}
	const sortedByAt, blockSizeAt, headerAt, flagsAt, minSize = 0, 8, 16, 28, 32
	if !root.resident || len(root.value) < minSize || binary.LittleEndian.Uint32(root.value[sortedByAt:]) != ntfsFileName {
		return nil, damaged("the root directory has no index of names")
	}
	found := map[string][]ntfsRef{}
	if err := searchNTFSNode(root.value[headerAt:], names, found); err != nil {
		return nil, err
	}
	const large = 1 // there are more entries in blocks of their own
	if root.value[flagsAt]&large == 0 {
		return found, nil
	}
	return found, file.searchBlocks(int64(binary.LittleEndian.Uint32(root.value[blockSizeAt:])), names, found)
}

// searchBlocks searches the blocks of the index that are in use.
func (f *ntfsFile) searchBlocks(blockSize int64, names []string, found map[string][]ntfsRef) error {
	blocks, err := f.stream(ntfsIndexAllocation, ntfsNames)
	if err != nil {
		return err
	}
	inUse, err := f.stream(ntfsIndexBitmap, ntfsNames)
	if err != nil {
		return err
	}
	if blockSize < ntfsStride || blockSize > ntfsMaxIndexBlock || !ntfsPower(blockSize) {
		return damaged("index blocks of %d bytes", blockSize)
	}
	if blocks.size > min(ntfsMaxIndex, f.fs.v.size) {
		return fmt.Errorf("a root directory of %d bytes", blocks.size)
	}
	count := blocks.size / blockSize
	used := make([]byte, (count+7)/8)
	if err := inUse.read(used, 0); err != nil {
		return err
	}
	block := make([]byte, blockSize)
	for i := range count {
		if used[i/8]>>(i%8)&1 == 0 {
			continue
		}
		if err := blocks.read(block, i*blockSize); err != nil {
			return err
		}
		if err := searchNTFSBlock(block, names, found); err != nil {
			return fmt.Errorf("block %d of the root directory: %w", i, err)
		}
	}
	return nil
}

// searchNTFSBlock searches one block of an index. It changes block.
func searchNTFSBlock(block []byte, names []string, found map[string][]ntfsRef) error {
	if err := undoFixups(block, "INDX"); err != nil {
		return err
	}
	const headerAt = 24
	return searchNTFSNode(block[headerAt:], names, found)
}

// searchNTFSNode searches the entries of one node of an index. p starts with
// the header of the node, whose offsets count from there.
func searchNTFSNode(p []byte, names []string, found map[string][]ntfsRef) error {
	const firstAt, endAt, headerSize = 0, 4, 16
	first, end := binary.LittleEndian.Uint32(p[firstAt:]), binary.LittleEndian.Uint32(p[endAt:])
	if first < headerSize || first > end || int64(end) > int64(len(p)) {
		return damaged("index entries from %d to %d in %d bytes", first, end, len(p))
	}
	p = p[first:end]
	for {
		const lengthAt, flagsAt, keyAt, last = 8, 12, 16, 2
		if len(p) < keyAt {
			return damaged("an index without an end")
		}
		length := int(binary.LittleEndian.Uint16(p[lengthAt:]))
		if length < keyAt || length > len(p) {
			return damaged("an index entry of %d bytes", length)
		}
		if binary.LittleEndian.Uint16(p[flagsAt:])&last != 0 {
			return nil
		}
		name, err := ntfsEntryName(p[keyAt:length])
		if err != nil {
			return err
		}
		ref := decodeNTFSRef(p)
		if slices.Contains(names, name) && !slices.Contains(found[name], ref) {
			found[name] = append(found[name], ref)
		}
		p = p[length:]
	}
}

// ntfsEntryName returns the name in the key of an index entry, in lower case
// as far as it is ASCII.
func ntfsEntryName(key []byte) (string, error) {
	const lengthAt, nameAt = 64, 66
	if len(key) < nameAt {
		return "", damaged("an index key of %d bytes", len(key))
	}
	raw, ok := ntfsSlice(key, nameAt, 2*int64(key[lengthAt]))
	if !ok {
		return "", damaged("an index key whose name lies outside")
	}
	name := []rune(ntfsText(raw))
	for i, r := range name {
		if r >= 'A' && r <= 'Z' {
			name[i] = r + 'a' - 'A'
		}
	}
	return string(name), nil
}
