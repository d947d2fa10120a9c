package store

import (
	"crypto/sha256"
	"encoding/hex"

	"slipcast/image"
)

// parseDigest reads the name of a frame's file.
func parseDigest(name string) (d image.Digest, ok bool) {
	p, err := hex.DecodeString(name)
	if err != nil || len(p) != len(d) || hex.EncodeToString(p) != name {
		return d, false
	}
	return image.Digest(p), true
}

// etag returns the strong entity tag of an image file, RFC 9110 section 8.8.3.
// The digest of an image alone does not tell how its frames were compressed.
func etag(d image.Digest, preface []byte) string {
	sum := sha256.Sum256(preface)
	return `"` + d.String() + "." + hex.EncodeToString(sum[:8]) + `"`
}
