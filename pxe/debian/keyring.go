package debian

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

const maxKeyring = 16 << 20

// keyringPatterns are the places where Debian and its derivatives keep the
// keys of Debian's archive: the first pattern that a file has is used.
var keyringPatterns = [...]string{
	"/usr/share/keyrings/debian-archive-keyring.pgp",
	"/usr/share/keyrings/debian-archive-keyring.gpg",
	"/usr/share/keyrings/debian-archive-*.pgp",
	"/usr/share/keyrings/debian-archive-*.gpg",
	"/etc/apt/trusted.gpg.d/debian-archive-*",
}

// findKeyrings returns the keyring files of the host.
func findKeyrings() ([]string, error) {
	for _, pattern := range keyringPatterns {
		if files, err := filepath.Glob(pattern); err == nil && len(files) > 0 {
			return files, nil
		}
	}
	return nil, ErrNoKeyring
}

// readKeyrings reads the keys of file, or of the host's own keyring if file
// is "".
func readKeyrings(file string) (openpgp.EntityList, error) {
	files := []string{file}
	if file == "" {
		var err error
		if files, err = findKeyrings(); err != nil {
			return nil, err
		}
	}
	var all openpgp.EntityList
	for _, name := range files {
		keys, err := readKeyring(name)
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	return all, nil
}

// readKeyring reads one keyring, in ASCII armour or without.
func readKeyring(name string) (openpgp.EntityList, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNoKeyring, err)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, maxKeyring))
	if err != nil {
		return nil, err
	}
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(p, []byte("-----BEGIN")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(p))
	if err != nil {
		return nil, fmt.Errorf("reading the keyring %s: %w", name, err)
	}
	return keys, nil
}

// strongHashes are the digests that a signature may be over.
var strongHashes = [...]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512}

// openSigned returns the text of a clear-signed message, if a key of the
// keyring has signed it. What stands around the signed text is not returned.
// An error wraps [ErrUntrusted].
func openSigned(message []byte, keys openpgp.KeyRing, now time.Time) ([]byte, error) {
	block, _ := clearsign.Decode(message)
	if block == nil {
		return nil, fmt.Errorf("%w: no signed text", ErrUntrusted)
	}
	config := &packet.Config{Time: func() time.Time { return now }}
	why := fmt.Errorf("%w: signed by keys that are not in it", ErrUntrusted)
	packets := packet.NewReader(block.ArmoredSignature.Body)
	for {
		p, err := packets.Next()
		if err == io.EOF {
			return nil, why
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUntrusted, err)
		}
		signature, ok := p.(*packet.Signature)
		if !ok || signature.IssuerKeyId == nil || len(keys.KeysById(*signature.IssuerKeyId)) == 0 {
			continue
		}
		if err = checkOne(block.Bytes, signature, keys, config); err == nil {
			return block.Plaintext, nil
		}
		why = fmt.Errorf("%w: key %016X: %w", ErrUntrusted, *signature.IssuerKeyId, err)
	}
}

// checkOne checks a single signature. The library looks only at the first one
// whose key it has; Debian signs with the old and the new keys, and one that
// holds is enough.
func checkOne(text []byte, signature *packet.Signature, keys openpgp.KeyRing, config *packet.Config) error {
	var one bytes.Buffer
	if err := signature.Serialize(&one); err != nil {
		return err
	}
	_, err := openpgp.CheckDetachedSignatureAndHash(keys, bytes.NewReader(text), &one, strongHashes[:], config)
	return err
}
