package image

import (
	"encoding/hex"
	"strconv"
	"time"

	"slipcast/partition"
)

// A Digest is the SHA-256 of raw data; it names a chunk or an image.
type Digest [32]byte

// String returns d in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// quickSize is the length of a quick digest: the first bytes of a BLAKE3.
const quickSize = 16

// A Layout is what a capture knows about a disk before it reads the data.
type Layout struct {
	Size           int64 // of the disk in bytes
	LogicalSector  int   // bytes
	PhysicalSector int   // bytes
	Table          Table
	Volumes        []Volume          // ordered by Start
	Used           partition.Extents // what the image keeps, all volumes and the table included
	Notes          []string          // about the disk as a whole
}

// A Table describes a partition table. Its sectors are in the data.
type Table struct {
	Kind       partition.Kind
	ID         string
	Partitions []partition.Partition // by number
}

// A Volume is a part of the disk that was looked at for a file system.
type Volume struct {
	Number    int   // of the partition, 0 for the whole disk
	Start     int64 // offset on the disk in bytes
	Size      int64 // bytes
	Span      int64 // bytes from Start that the file system reaches
	BlockSize int64 // bytes, 0 if unknown
	Type      string
	Label     string
	UUID      string
	Whole     bool // every byte counts as in use
	Dirty     bool // was not cleanly unmounted
	Notes     []string
}

// Extent returns the place of v on the disk.
func (v *Volume) Extent() partition.Extent {
	return partition.Extent{Start: v.Start, Length: v.Size}
}

// An Origin tells where an image came from. It does not count for the digest.
type Origin struct {
	Time   time.Time // when the capture started, to the second
	Tool   string    // program and version
	Level  string    // compression level by name
	Source string    // model and serial number of the disk
	Parent string    // digest of the parent image in hexadecimal
}

// A Manifest is all of an image but its data.
type Manifest struct {
	Layout
	ChunkSize int64 // bytes
	Origin    Origin

	// ReadErrors are the bytes that could not be read when the image was
	// captured. Zeros stand for them. Known only at the end of a stream.
	ReadErrors partition.Extents

	// Digest names the image. Known only at the end of a stream.
	Digest Digest

	runs      []run
	digests   []Digest          // of data chunks
	quick     [][quickSize]byte // of data chunks
	frameSums []uint64          // of data chunks, nil if the image has none
}

// Partition returns the partition of that number, nil if there is none.
func (t *Table) Partition(number int) *partition.Partition {
	for i := range t.Partitions {
		if t.Partitions[i].Number == number {
			return &t.Partitions[i]
		}
	}
	return nil
}

// Volume returns the volume of that number, nil if there is none.
func (l *Layout) Volume(number int) *Volume {
	for i := range l.Volumes {
		if l.Volumes[i].Number == number {
			return &l.Volumes[i]
		}
	}
	return nil
}

// UsedIn returns how many bytes of e the image keeps.
func (l *Layout) UsedIn(e partition.Extent) int64 {
	var n int64
	for _, u := range l.Used.From(e.Start) {
		if u.Start >= e.End() {
			break
		}
		n += u.Intersect(e).Length
	}
	return n
}

// Name names v for people.
func (v *Volume) Name() string {
	if v.Number == 0 {
		return "the volume"
	}
	return "partition " + strconv.Itoa(v.Number)
}
