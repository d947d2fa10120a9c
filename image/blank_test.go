package image

import (
	"bytes"
	"crypto/sha256"
	"testing"
)

// What is known of a blank chunk beforehand is what the long way finds.
func TestBlankChunk(t *testing.T) {
	for shift := minChunkShift; shift <= maxChunkShift; shift += 2 {
		size := int64(1) << shift
		zero := make([]byte, size)
		u, err := newUnpacker(size, true)
		if err != nil {
			t.Fatal(err)
		}
		defer u.close()
		b := newBlankChunk(size)
		if b.digest != sha256.Sum256(zero) || b.quick != quickSum(zero) {
			t.Errorf("%d bytes: got digests %v and %x", size, b.digest, b.quick)
		}
		long, err := u.unpack(b.frame, size, make([]byte, size))
		if err != nil || !bytes.Equal(long, zero) {
			t.Errorf("%d bytes: unpacked to %d bytes, %v", size, len(long), err)
		}
		short, quick, err := u.decode(b.frame, size, bytes.Repeat([]byte{1}, int(size)))
		if err != nil || quick != b.quick || !bytes.Equal(short, zero) {
			t.Errorf("%d bytes: decoded to %d bytes, quick digest %x, %v", size, len(short), quick, err)
		}
		if u.isBlank(b.frame, size/2) || u.isBlank(b.frame[1:], size) {
			t.Error("something else is taken for a blank chunk")
		}
	}
}
