package debian

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"
)

// A Release describes one suite of a mirror, as its release file does.
type Release struct {
	Suite      string    // as it was asked for, "trixie-security"
	Date       time.Time // when the suite was published; zero if it does not say
	ValidUntil time.Time // when it should no longer be used; zero is never

	// Offline says why the release file was taken from the cache. It is nil
	// where the mirror gave it.
	Offline error
}

// Expired tells whether the release should no longer be used at time now.
func (r Release) Expired(now time.Time) bool {
	return !r.ValidUntil.IsZero() && now.After(r.ValidUntil)
}

// A releaseFile is what a release file says.
type releaseFile struct {
	suite, codename  string
	date, validUntil time.Time
	byHash           bool // files may be asked for by their digests
	files            map[string]releaseEntry
}

// A releaseEntry is a file of the mirror that a release file vouches for.
type releaseEntry struct {
	digest [sha256.Size]byte
	size   int64
}

// parseRelease reads the text of a release file whose signature has been
// checked. Any error wraps [ErrMalformed].
func parseRelease(r io.Reader) (*releaseFile, error) {
	next, stop := iter.Pull2(stanzas(r, "suite", "codename", "date", "valid-until", "acquire-by-hash", "sha256"))
	defer stop()
	s, err, ok := next()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: an empty release file", ErrMalformed)
	}
	if _, _, more := next(); more {
		return nil, fmt.Errorf("%w: a release file of several paragraphs", ErrMalformed)
	}
	f := &releaseFile{suite: s["suite"], codename: s["codename"], byHash: s["acquire-by-hash"] == "yes"}
	if f.date, err = parseDate(s["date"]); err != nil {
		return nil, err
	}
	if f.validUntil, err = parseDate(s["valid-until"]); err != nil {
		return nil, err
	}
	f.files, err = parseEntries(s["sha256"])
	return f, err
}

// parseDate reads a date of a release file; an empty one is the zero time.
func parseDate(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse("Mon, _2 Jan 2006 15:04:05 MST", s)
	if err != nil {
		return t, fmt.Errorf("%w: date %.60q", ErrMalformed, s)
	}
	if _, offset := t.Zone(); offset != 0 || !strings.HasSuffix(s, "UTC") && !strings.HasSuffix(s, "GMT") {
		return t, fmt.Errorf("%w: date %.60q is not in UTC", ErrMalformed, s)
	}
	return t.UTC(), nil
}

// parseEntries reads lines of digest, size and name.
func parseEntries(text string) (map[string]releaseEntry, error) {
	entries := map[string]releaseEntry{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("%w: line %.100q of a release file", ErrMalformed, line)
		}
		var e releaseEntry
		var err error
		if e.digest, err = parseDigest(fields[0]); err != nil {
			return nil, err
		}
		if e.size, err = parseSize(fields[1]); err != nil {
			return nil, err
		}
		entries[fields[2]] = e
	}
	return entries, nil
}

// parseDigest reads a SHA-256 in hex.
func parseDigest(s string) (digest [sha256.Size]byte, err error) {
	if len(s) != hex.EncodedLen(len(digest)) {
		return digest, fmt.Errorf("%w: SHA-256 %.100q", ErrMalformed, s)
	}
	if _, err := hex.Decode(digest[:], []byte(s)); err != nil {
		return digest, fmt.Errorf("%w: SHA-256 %.100q", ErrMalformed, s)
	}
	return digest, nil
}

// parseSize reads a number of bytes.
func parseSize(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%w: size %.60q", ErrMalformed, s)
	}
	return n, nil
}
