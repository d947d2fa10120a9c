package store

import (
	"errors"
	"io"
	"path"
	"time"

	"slipcast/image"
)

// A VersionFile is what a version file holds, section 16.2 of docs/format.md.
type VersionFile struct {
	Order   uint64    // higher than that of the versions that were there before it
	Added   time.Time // in UTC
	Preface []byte    // for image.OpenPreface or image.Assemble
}

// DecodeVersion reads a version file, whosever it is. That the preface is the
// preface of an image, its reader finds out; here it is only known to be what
// was written. It shares memory with p. An error wraps [image.ErrDamaged].
func DecodeVersion(p []byte) (VersionFile, error) {
	v, err := parseVersion(p)
	if err != nil {
		return VersionFile{}, err
	}
	return VersionFile{v.order, time.Unix(v.added, 0).UTC(), v.preface}, nil
}

// CheckVersion reads a version file to its end, and finds out what DecodeVersion does,
// with memory of a constant size whatever r holds. An error wraps [image.ErrDamaged],
// or is one of r.
func CheckVersion(r io.Reader) error {
	header := make([]byte, versionHeader)
	n, err := io.ReadFull(r, header)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if _, err := parseVersionHeader(header[:n]); err != nil {
		return err
	}
	return checkVersionDigest(header, r)
}

// FrameName returns where in the folder frames the frame of the chunk with digest
// d lies, in images with chunks of chunkSize bytes: SHIFT/XX/DIGEST.
func FrameName(d image.Digest, chunkSize int64) string {
	name := d.String()
	return path.Join(shiftName(chunkSize), name[:2], name)
}
