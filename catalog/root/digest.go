package root

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"

	"golang.org/x/sys/unix"
)

// treeMagic begins what is digested.
const treeMagic = "slipcast tree 1\n"

// TreeDigest returns the digest of the tree in hexadecimal: section 9.6. With
// other options than none it is another one.
func (r *Root) TreeDigest(ctx context.Context, opt TreeOptions) (string, error) {
	d := newDigester()
	err := r.walk(ctx, opt, func(e *Entry) error {
		d.entry(e)
		return nil
	})
	if err != nil {
		return "", err
	}
	return d.sum(), nil
}

// A digester digests the entries of a tree.
type digester struct{ hash hash.Hash }

func newDigester() *digester {
	d := &digester{sha256.New()}
	io.WriteString(d.hash, treeMagic)
	return d
}

// text adds one field: its length and its bytes.
func (d *digester) text(s string) {
	var length [4]byte
	binary.LittleEndian.PutUint32(length[:], uint32(len(s)))
	d.hash.Write(length[:])
	io.WriteString(d.hash, s)
}

// entry adds the fields of an entry in the order of section 9.6.
func (d *digester) entry(e *Entry) {
	d.text(e.Path)
	d.text(string(e.Type))
	d.text(e.Same)
	if e.Same != "" {
		return
	}
	d.text(strconv.FormatUint(uint64(e.Mode), 8))
	d.text(strconv.FormatUint(uint64(e.UID), 10))
	d.text(strconv.FormatUint(uint64(e.GID), 10))
	d.text(strconv.FormatInt(e.Size, 10))
	d.text(fmt.Sprintf("%d.%09d", e.ModTime.Sec, e.ModTime.Nsec))
	d.text(fmt.Sprintf("%d:%d", unix.Major(e.Rdev), unix.Minor(e.Rdev)))
	d.text(e.Link)
	d.text(e.SHA256)
	d.text(strconv.Itoa(len(e.Xattrs)))
	for _, x := range e.Xattrs {
		d.text(x.Name)
		d.text(string(x.Value))
	}
}

func (d *digester) sum() string { return hex.EncodeToString(d.hash.Sum(nil)) }
