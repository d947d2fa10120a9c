package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What any release wrote opens, verifies and restores to what it always did.
func TestReleased(t *testing.T) {
	dir := filepath.Join("testdata", "released")
	list, err := os.ReadFile(filepath.Join(dir, "digests"))
	if err != nil {
		t.Fatal(err)
	}
	images, err := filepath.Glob(filepath.Join(dir, "*.img.zst"))
	if err != nil || len(images) == 0 || len(images) != strings.Count(string(list), "\n") {
		t.Fatalf("%d images, and digests of %d, %v", len(images), strings.Count(string(list), "\n"), err)
	}
	for line := range strings.Lines(string(list)) {
		field := strings.Fields(line)
		t.Run(field[0], func(t *testing.T) {
			p, err := os.ReadFile(filepath.Join(dir, field[0]))
			if err != nil {
				t.Fatal(err)
			}
			checkReleased(t, p, field[1], field[2])
		})
	}
}

// checkReleased checks an image, and the SHA-256 of the disk that comes out
// of it.
func checkReleased(t *testing.T, p []byte, digest, raw string) {
	t.Helper()
	im := openBytes(t, p)
	if im.Digest.String() != digest {
		t.Errorf("digest %v, want %s", im.Digest, digest)
	}
	if err := im.Verify(t.Context(), VerifyOptions{}); err != nil {
		t.Error(err)
	}
	for _, stream := range []bool{false, true} {
		dst := &memory{make([]byte, im.Manifest.Size)}
		mustRestore(t, p, stream, dst, RestoreOptions{Blank: true, Verify: true})
		if sum := sha256.Sum256(dst.b); hex.EncodeToString(sum[:]) != raw {
			t.Errorf("stream %v: the disk has the SHA-256 %x, want %s", stream, sum, raw)
		}
		again := captureBytes(t, dst.b, &im.Layout, CaptureOptions{ChunkSize: im.ChunkSize})
		if got := openBytes(t, again); got.Digest != im.Digest {
			t.Errorf("captured again it has the digest %v", got.Digest)
		}
	}
	l, err := Scan(t.Context(), bytes.NewReader(masked(readAllOf(t, im), im.Used)), ScanOptions{Size: im.Manifest.Size})
	if err != nil || !sameTable(l.Table, im.Table) {
		t.Errorf("scanned: %+v, %v", l.Table, err)
	}
}

// readAllOf returns the disk in an image.
func readAllOf(t *testing.T, im *Image) []byte {
	t.Helper()
	p := make([]byte, im.Manifest.Size)
	if _, err := newReader(t, im).ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}
