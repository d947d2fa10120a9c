package image

import (
	"errors"
	"fmt"
)

var (
	// ErrNotImage reports a file that does not begin like an image.
	ErrNotImage = errors.New("not a slipcast image")

	// ErrDamaged reports an image that is not as docs/format.md wants it.
	ErrDamaged = errors.New("damaged image")

	// ErrDigest reports data that does not match its digest. It is a kind of
	// damage: errors that wrap it wrap ErrDamaged, too.
	ErrDigest = fmt.Errorf("%w: digest mismatch", ErrDamaged)
)

// damaged returns an error that wraps [ErrDamaged] and names the place.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// A ChunkError says which chunk of an image could not be used, and why.
type ChunkError struct {
	Index  int   // number of the data chunk, from zero
	Offset int64 // its place on the disk in bytes
	Err    error
}

func (e *ChunkError) Error() string {
	return fmt.Sprintf("chunk %d at offset %d: %v", e.Index, e.Offset, e.Err)
}

func (e *ChunkError) Unwrap() error { return e.Err }

// A FrameError says which part of an image could not be read, and why.
type FrameError struct {
	Offset int64 // of what the frame holds, on the disk in bytes
	Err    error
}

func (e *FrameError) Error() string { return fmt.Sprintf("frame for offset %d: %v", e.Offset, e.Err) }

func (e *FrameError) Unwrap() error { return e.Err }
