package trust

import (
	"context"
	"fmt"
	"io"

	"aead.dev/minisign"
)

// maxSignature is how long a detached signature may be, in bytes.
const maxSignature = 4 << 10

// SignFile returns the detached signature of what r holds, as minisign makes
// it: it goes beside the file with .minisig at the end of its name. comment is
// signed as well, and shown by minisign.
func SignFile(ctx context.Context, r io.Reader, key *SecretKey, comment string) ([]byte, error) {
	m := minisign.NewReader(ctxReader{ctx, r})
	if _, err := io.Copy(io.Discard, m); err != nil {
		return nil, err
	}
	return m.SignWithComments(key.mini, comment, "signature from minisign secret key "+key.public.Number()), nil
}

// VerifyFile makes sure that sig is the signature of what r holds by one of the
// authors, and returns which. An error wraps [ErrAuthor], or is one of r.
func VerifyFile(ctx context.Context, r io.Reader, sig []byte, authors []PublicKey) (PublicKey, error) {
	m := minisign.NewReader(ctxReader{ctx, r})
	if _, err := io.Copy(io.Discard, m); err != nil {
		return PublicKey{}, err
	}
	return verifyAuthor(m, sig, authors)
}

// verifyAuthor is VerifyFile for what was read through m.
func verifyAuthor(m *minisign.Reader, sig []byte, authors []PublicKey) (PublicKey, error) {
	var s minisign.Signature
	if len(sig) > maxSignature || s.UnmarshalText(sig) != nil {
		return PublicKey{}, fmt.Errorf("%w: the signature is none of minisign", ErrAuthor)
	}
	if s.Algorithm != minisign.HashEdDSA { // the other would be one of the hash in place of the file
		return PublicKey{}, fmt.Errorf("%w: the signature is of minisign's old kind (-l)", ErrAuthor)
	}
	for _, a := range authors {
		if m.Verify(a.mini, sig) {
			return a, nil
		}
	}
	return PublicKey{}, fmt.Errorf("%w: it is by the key %016X", ErrAuthor, s.KeyID)
}

// A ctxReader is a reader whose reads end with a context.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
