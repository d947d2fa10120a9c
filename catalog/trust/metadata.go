package trust

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Bounds of section 7.3.
const (
	maxRoot       = 64 << 10
	maxTimestamp  = 64 << 10
	maxSnapshot   = 1 << 20
	maxTargets    = 64 << 20
	maxChain      = 32        // roots that a reader follows
	maxSignatures = 32 << 10  // bytes of the signatures in a file
	maxVersion    = 1<<31 - 1 // of any metadata
	maxDepth      = 32        // of brackets in one another
)

// timestampFile is the one file of metadata without a version in its name.
const timestampFile = "timestamp.json"

// fileName returns the name of the file of a role in a version.
func fileName(role string, version int64) string {
	if role == metadata.TIMESTAMP {
		return timestampFile
	}
	return fmt.Sprintf("%d.%s.json", version, role)
}

// maxSize returns how long the metadata of a role may be, in bytes.
func maxSize(role string) int64 {
	return map[string]int64{
		metadata.ROOT: maxRoot, metadata.TIMESTAMP: maxTimestamp, metadata.SNAPSHOT: maxSnapshot, metadata.TARGETS: maxTargets,
	}[role]
}

// decode reads metadata whose form was checked by checkForm. Nothing is
// verified yet.
func decode[T metadata.Roles](p []byte) (*metadata.Metadata[T], error) {
	if err := checkForm(p); err != nil {
		return nil, err
	}
	m, err := new(metadata.Metadata[T]).FromBytes(p)
	if err != nil {
		return nil, malformed("%v", err)
	}
	return m, nil
}

// checkWritten makes sure that p is just what encode makes of m. Of a root and
// a timestamp no other file has a digest: without this, bytes that mean nothing
// could differ.
func checkWritten[T metadata.Roles](m *metadata.Metadata[T], p []byte) error {
	again, err := encode(m)
	if err != nil {
		return malformed("%v", err)
	}
	if !bytes.Equal(again, p) {
		return malformed("it is not written as it must be")
	}
	return nil
}

// encode returns metadata as they lie in a file.
func encode[T metadata.Roles](m *metadata.Metadata[T]) ([]byte, error) { return m.ToBytes(false) }

// sign signs metadata with keys that have not signed them yet.
func sign[T metadata.Roles](m *metadata.Metadata[T], keys []*SecretKey) error {
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return err
	}
	for _, k := range keys {
		sig, err := k.sign(payload)
		if err != nil {
			return err
		}
		m.Signatures = append(m.Signatures, metadata.Signature{KeyID: k.public.ID(), Signature: sig})
	}
	return nil
}

// malformed returns an error that wraps ErrMalformed and says what is wrong.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// refused turns an error of go-tuf about metadata into one of ours.
func refused(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return ErrExpired
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		return ErrSignature
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}), errors.Is(err, &metadata.ErrBadVersionNumber{}):
		return ErrMismatch
	}
	return malformed("%v", err)
}

// checkForm makes sure that p has the outer form of section 7.3:
// {"signatures":[...],"signed":{...}} without blanks and without null.
// What parses it later may rely on that: it gets no nil.
func checkForm(p []byte) error {
	rest, ok := bytes.CutPrefix(p, []byte(`{"signatures":[`))
	if !ok {
		return malformed("it does not begin with signatures")
	}
	n, err := skip(rest, 1)
	if err != nil {
		return err
	}
	if n > maxSignatures {
		return malformed("%d bytes of signatures", n)
	}
	rest, ok = bytes.CutPrefix(rest[n:], []byte(`,"signed":{`))
	if !ok {
		return malformed("there is something beside signatures and signed")
	}
	n, err = skip(rest, 1)
	if err != nil {
		return err
	}
	if string(rest[n:]) != "}" {
		return malformed("there is something beside signatures and signed")
	}
	return nil
}

// skip returns how long the JSON is that ends with the bracket that closes depth
// open ones. It looks at brackets, strings, and which bytes stand between them; a
// parser does the rest.
func skip(p []byte, depth int) (int, error) {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '"':
			i += 1 + stringLen(p[i+1:])
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return 0, malformed("more than %d brackets in one another", maxDepth)
			}
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		case !strings.ContainsRune(",:-0123456789truefals", rune(c)): // of true and false, not of null
			return 0, malformed("%q outside of a string", c)
		}
	}
	return 0, malformed("it is cut short")
}

// stringLen returns how long the string is that p begins with, without the quote
// at its end.
func stringLen(p []byte) int {
	for i := 0; i < len(p); i++ {
		switch p[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(p)
}
