package fsmap

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"

	"slipcast/partition"
)

// Kinds and profiles of chunks (BTRFS_BLOCK_GROUP_*).
const (
	btrfsData     = 1 << 0
	btrfsSystem   = 1 << 1
	btrfsMetadata = 1 << 2
	btrfsRAID1    = 1 << 4
	btrfsDUP      = 1 << 5
)

const (
	btrfsStripeLen  = 64 << 10 // BTRFS_STRIPE_LEN, the only one there is
	btrfsChunkSize  = 48       // struct btrfs_chunk without its stripes
	btrfsStripeSize = 32       // struct btrfs_stripe

	// btrfsMaxChunks bounds the list in memory (48 bytes each). At the usual
	// size of 1 GiB so many chunks hold 256 TiB.
	btrfsMaxChunks = 1 << 18
)

// A btrfsChunk is a range of logical addresses and its one or two places on
// the device, each of which holds all of it.
type btrfsChunk struct {
	start, length uint64
	kind          uint64
	at            [2]int64
	n             int
}

// copies returns the offsets of the chunk's copies.
func (c *btrfsChunk) copies() []int64 { return c.at[:c.n] }

// btrfsChunks are chunks in ascending order that do not overlap.
type btrfsChunks []btrfsChunk

// find returns the chunk that holds length bytes from a logical address. It
// is an error if they do not lie in one chunk.
func (x btrfsChunks) find(start, length uint64) (*btrfsChunk, error) {
	i := sort.Search(len(x), func(i int) bool { return x[i].start > start }) - 1
	if i < 0 {
		return nil, damaged("logical address %d is in no chunk", start)
	}
	c := &x[i]
	if from := start - c.start; from >= c.length || length > c.length-from {
		return nil, damaged("%d bytes at logical address %d are in no chunk", length, start)
	}
	return c, nil
}

// add puts c into its place. The same chunk may come twice: from the
// superblock and from the chunk tree.
func (x *btrfsChunks) add(c btrfsChunk) error {
	i := sort.Search(len(*x), func(i int) bool { return (*x)[i].start >= c.start })
	if i < len(*x) && (*x)[i] == c {
		return nil
	}
	before := i > 0 && (*x)[i-1].start+(*x)[i-1].length > c.start
	behind := i < len(*x) && c.start+c.length > (*x)[i].start
	if before || behind {
		return damaged("the chunk at %d overlaps another", c.start)
	}
	if len(*x) == btrfsMaxChunks {
		return damaged("more than %d chunks", btrfsMaxChunks)
	}
	*x = slices.Insert(*x, i, c)
	return nil
}

// checkPlaces makes sure that no two chunks share a byte of the device.
func (x btrfsChunks) checkPlaces() error {
	var places []partition.Extent
	for i := range x {
		for _, at := range x[i].copies() {
			places = append(places, partition.Extent{Start: at, Length: int64(x[i].length)})
		}
	}
	slices.SortFunc(places, func(a, b partition.Extent) int { return cmp.Compare(a.Start, b.Start) })
	for i := 1; i < len(places); i++ {
		if places[i-1].End() > places[i].Start {
			return damaged("two chunks at offset %d", places[i].Start)
		}
	}
	return nil
}

// readChunks fills fs.chunks: first from the superblock, which has what it
// takes to read the chunk tree, then from that tree.
func (fs *btrfs) readChunks() error {
	if err := fs.readSysChunks(); err != nil {
		return err
	}
	seen, devices := 0, 0
	err := fs.walk(fs.super.chunkRoot, func(it btrfsItem) error {
		switch it.key.kind {
		case btrfsDeviceItem:
			devices++
			return fs.checkDevice(it)
		case btrfsChunkItem:
			seen++
			return fs.addChunk(it.key, it.data)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if seen != len(fs.chunks) { // addChunk adds a chunk of the superblock once
		return damaged("the superblock has a chunk that the tree does not have")
	}
	if devices != 1 {
		return damaged("%d devices, want one", devices)
	}
	return fs.chunks.checkPlaces()
}

// readSysChunks reads the array of keys and chunks in the superblock.
func (fs *btrfs) readSysChunks() error {
	for p := fs.super.sysChunks; len(p) > 0; {
		if len(p) < btrfsKeySize+btrfsChunkSize {
			return damaged("cut off in the superblock")
		}
		key := decodeBtrfsKey(p)
		p = p[btrfsKeySize:]
		stripes := int(binary.LittleEndian.Uint16(p[44:]))
		n := btrfsChunkSize + stripes*btrfsStripeSize
		if key.kind != btrfsChunkItem || n > len(p) {
			return damaged("superblock: item of type %d with %d stripes", key.kind, stripes)
		}
		if err := fs.addChunk(key, p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// checkDevice compares a device item (struct btrfs_dev_item) with the
// superblock.
func (fs *btrfs) checkDevice(it btrfsItem) error {
	if len(it.data) < 98 {
		return damaged("a device item of %d bytes", len(it.data))
	}
	id := binary.LittleEndian.Uint64(it.data)
	size := binary.LittleEndian.Uint64(it.data[8:])
	if id != fs.super.deviceID || size != uint64(fs.super.deviceSize) {
		return damaged("device %d of %d bytes, the superblock has device %d of %d bytes",
			id, size, fs.super.deviceID, fs.super.deviceSize)
	}
	return nil
}

// addChunk decodes and checks a chunk (struct btrfs_chunk) and adds it to
// fs.chunks.
func (fs *btrfs) addChunk(key btrfsKey, p []byte) error {
	if len(p) < btrfsChunkSize {
		return damaged("a chunk item of %d bytes", len(p))
	}
	c := btrfsChunk{
		start:  key.offset,
		length: binary.LittleEndian.Uint64(p),
		kind:   binary.LittleEndian.Uint64(p[24:]),
		n:      int(binary.LittleEndian.Uint16(p[44:])),
	}
	if err := fs.checkChunk(&c, len(p), binary.LittleEndian.Uint64(p[16:])); err != nil {
		return err
	}
	for i := range c.n {
		at, err := fs.decodeStripe(p[btrfsChunkSize+i*btrfsStripeSize:], c.length)
		if err != nil {
			return err
		}
		c.at[i] = at
	}
	return fs.chunks.add(c)
}

// checkChunk refuses a chunk whose item has size bytes if its kind, profile
// or lengths cannot be right or cannot be mapped.
func (fs *btrfs) checkChunk(c *btrfsChunk, size int, stripeLen uint64) error {
	sector := uint64(fs.super.sectorSize)
	want := 1
	switch profile := c.kind &^ (btrfsData | btrfsSystem | btrfsMetadata); profile {
	case 0:
	case btrfsDUP, btrfsRAID1:
		want = 2
	default:
		return fmt.Errorf("a chunk with profile %#x, which is not mapped", profile)
	}
	switch {
	case c.n != want || size != btrfsChunkSize+want*btrfsStripeSize:
		return damaged("a chunk of %d stripes in %d bytes", c.n, size)
	case c.length == 0 || c.length > uint64(fs.super.deviceSize) || c.length%sector != 0 || stripeLen != btrfsStripeLen:
		return damaged("a chunk of %d bytes in stripes of %d", c.length, stripeLen)
	case c.start%sector != 0 || c.start > 1<<62:
		return damaged("a chunk at logical address %d", c.start)
	case c.kind&(btrfsData|btrfsSystem|btrfsMetadata) == 0:
		return damaged("a chunk of type %#x", c.kind)
	}
	return nil
}

// decodeStripe returns the place of a stripe (struct btrfs_stripe) of length
// bytes, which must be on this device.
func (fs *btrfs) decodeStripe(p []byte, length uint64) (int64, error) {
	id, at := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
	if id != fs.super.deviceID || [16]byte(p[16:]) != fs.super.deviceUUID {
		return 0, damaged("a chunk on device %d, which is not this one", id)
	}
	// length was checked to be no more than deviceSize.
	if at > uint64(fs.super.deviceSize)-length || at%uint64(fs.super.sectorSize) != 0 {
		return 0, damaged("a chunk of %d bytes at offset %d", length, at)
	}
	return int64(at), nil
}
