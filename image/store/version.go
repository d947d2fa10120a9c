package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"slipcast/image"
)

// Parts of a version file, section 16.2.
const (
	versionFixed  = 32
	versionHeader = versionFixed + sha256.Size
)

// versionMagic begins a version file.
const versionMagic = "SLIPSTOR"

// maxVersion bounds a version file in bytes: head and tail of section 10 and
// the largest seek table are less.
const maxVersion = 8 << 30

// A version is what a version file holds.
type version struct {
	order   uint64 // larger than that of every version that was there before
	added   int64  // seconds since 1970
	preface []byte
}

// append appends the file that holds v.
func (v *version) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, versionMagic...)
	dst = append(dst, 1, 0, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, v.order)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(v.added))
	sum := sha256.New()
	sum.Write(dst[at:])
	sum.Write(v.preface)
	return append(sum.Sum(dst), v.preface...)
}

// parseVersion reads a version file. The preface shares memory with p and is
// only known to be what was written. An error wraps [image.ErrDamaged].
func parseVersion(p []byte) (version, error) {
	v, err := parseVersionHeader(p)
	if err != nil {
		return v, err
	}
	if err := checkVersionDigest(p[:versionHeader], bytes.NewReader(p[versionHeader:])); err != nil {
		return v, err
	}
	v.preface = p[versionHeader:]
	return v, nil
}

// checkVersionDigest compares the digest in a header with that of it and the preface.
func checkVersionDigest(header []byte, preface io.Reader) error {
	sum := sha256.New()
	sum.Write(header[:versionFixed])
	if _, err := io.Copy(sum, preface); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), header[versionFixed:]) {
		return image.ErrDigest
	}
	return nil
}

// parseVersionHeader reads what stands before the preface. The digest in it is
// not looked at.
func parseVersionHeader(p []byte) (version, error) {
	if len(p) < versionHeader {
		return version{}, damaged("a version file of %d bytes", len(p))
	}
	if string(p[:8]) != versionMagic {
		return version{}, damaged("not a version file (%x)", p[:8])
	}
	if v := binary.LittleEndian.Uint64(p[8:]); v != 1 {
		return version{}, damaged("version and reserved bytes %#x; this slipcast reads version 1", v)
	}
	v := version{order: binary.LittleEndian.Uint64(p[16:])}
	added := binary.LittleEndian.Uint64(p[24:])
	if v.order == 0 || added > math.MaxInt64 {
		return version{}, damaged("order %d, added %d", v.order, added)
	}
	v.added = int64(added)
	return v, nil
}

// readVersion reads the version file f.
func readVersion(f *os.File) (version, error) {
	info, err := f.Stat()
	if err != nil {
		return version{}, err
	}
	if info.Size() > maxVersion {
		return version{}, damaged("a version file of %d bytes", info.Size())
	}
	p := make([]byte, info.Size()) // which the disk really holds, but for holes
	if _, err := io.ReadFull(f, p); err != nil {
		return version{}, err
	}
	return parseVersion(p)
}

// entry returns what List tells of an image.
func (v *version) entry(r Ref, m *image.Image) Entry {
	return Entry{
		Ref: r, Added: time.Unix(v.added, 0).UTC(), Digest: m.Digest,
		DiskSize: m.Layout.Size, ImageSize: m.Size(), order: v.order,
	}
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", image.ErrDamaged, fmt.Sprintf(format, args...))
}
