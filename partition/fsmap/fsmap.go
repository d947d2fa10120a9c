package fsmap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"slipcast/partition"
)

// A Map tells what is on a volume and which of its bytes are in use.
type Map struct {
	// Type names the format: "ext4", "ntfs", "swap", "luks"; empty if it is
	// unknown.
	Type  string
	Label string
	UUID  string

	// BlockSize is the unit of allocation in bytes (a cluster on NTFS, FAT
	// and exFAT), zero if it is unknown.
	BlockSize int64

	// Size is how many bytes of the volume the file system spans, with every
	// copy of its superblock; the volume may be larger. It is the volume's
	// size where the format does not tell.
	Size int64

	// Used are the bytes that must be captured, counted from the start of
	// the volume. All of them lie within the volume.
	Used partition.Extents

	// Whole tells that all of the volume counts as used, because its format
	// is unknown, has no map, or cannot be trusted. Notes say why.
	Whole bool

	// Dirty tells that the file system was not cleanly unmounted.
	Dirty bool

	// Notes are remarks for people: lower case, no full stop.
	Notes []string
}

// Options change what [Read] counts as used. The zero value is the default.
type Options struct {
	// SkipSwapfiles leaves the contents of page and hibernation files out of
	// the map, where the file system's reader knows how to find them. What
	// keeps a machine from starting (a file that holds a suspended system)
	// is never left out.
	SkipSwapfiles bool
}

// errNotMine tells that a volume does not hold the reader's kind of file
// system, so that the next reader is asked.
var errNotMine = errors.New("not this file system")

// errDamaged tells that a volume holds the reader's kind of file system but
// that something in it cannot be right.
var errDamaged = errors.New("damaged")

// damaged returns an error that wraps errDamaged and says what is wrong.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

// A reader knows one kind of file system. It returns errNotMine if the volume
// holds another kind. Any other error means that the volume is of its kind
// and cannot be mapped; the Map, if not nil, then holds what was learned so
// far, at least Type.
type reader func(v *volume) (*Map, error)

// readers returns every kind of file system that the package knows.
func readers() []reader {
	return []reader{
		readLUKS, readLVM, readContainer,
		readExt, readXFS, readBtrfs, readF2FS,
		readNTFS, readExFAT, readFAT,
		readSwap,
	}
}

// Read finds out what is on the volume of size bytes behind r. What it does
// not know, or cannot trust, it maps as a whole and says so in the Map: the
// only error is that of ctx. Two formats at once (one of them the remains of
// an earlier life) are not guessed at either.
func Read(ctx context.Context, r io.ReaderAt, size int64, opt Options) (*Map, error) {
	v := &volume{ctx: ctx, r: r, size: size, opt: opt}
	var found []*Map
	var failed error // of a reader that cannot tell whether the volume is its own
	for _, read := range readers() {
		m, err := read(v)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		switch {
		case errors.Is(err, errNotMine):
			continue
		case m == nil:
			failed = err
			continue
		case err != nil:
			m.whole(v, err.Error())
		}
		found = append(found, m)
	}
	return v.finish(v.choose(found, failed)), nil
}

// choose returns the one map that was found.
func (v *volume) choose(found []*Map, failed error) *Map {
	if len(found) == 1 {
		return found[0]
	}
	m := &Map{}
	switch {
	case len(found) > 1:
		var kinds []string
		for _, f := range found {
			kinds = append(kinds, f.Type)
		}
		m.whole(v, "signatures of "+strings.Join(kinds, " and "))
	case failed != nil:
		m.whole(v, failed.Error())
	default:
		m.whole(v, "unknown contents")
	}
	return m
}

// whole makes m cover the whole volume, for the reason that is given.
func (m *Map) whole(v *volume, reason string) {
	m.Whole = true
	m.Used = partition.Normalize([]partition.Extent{{Start: 0, Length: v.size}})
	m.note("captured whole: %s", reason)
}

func (m *Map) note(format string, args ...any) {
	m.Notes = append(m.Notes, fmt.Sprintf(format, args...))
}
