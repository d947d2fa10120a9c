package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"aead.dev/minisign"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// maxKeyFile is how long a file with a key may be, in bytes.
const maxKeyFile = 4 << 10

// A PublicKey is the half of a key that everybody may know.
type PublicKey struct {
	mini minisign.PublicKey
	raw  ed25519.PublicKey
}

// ParsePublicKey reads a public key in the format of minisign, with or without
// its comment. An error wraps [ErrKey].
func ParsePublicKey(text []byte) (PublicKey, error) {
	var k PublicKey
	if len(text) > maxKeyFile {
		return k, fmt.Errorf("%w: %d bytes are no public key", ErrKey, len(text))
	}
	if err := k.mini.UnmarshalText(text); err != nil {
		return k, fmt.Errorf("%w: not a public key of minisign", ErrKey)
	}
	raw, err := base64.StdEncoding.DecodeString(k.mini.String())
	if err != nil || len(raw) != publicPrefix+ed25519.PublicKeySize {
		return k, fmt.Errorf("%w: not a public key of minisign", ErrKey)
	}
	k.raw = raw[publicPrefix:]
	return k, nil
}

// publicPrefix is what stands before the key in a public key of minisign: the
// algorithm and the number of the key, https://jedisct1.github.io/minisign/.
const publicPrefix = 2 + 8

// Encode returns the key as a file in the format of minisign.
func (k PublicKey) Encode() []byte {
	text, err := k.mini.MarshalText()
	if err != nil {
		panic(err) // it never fails
	}
	return append(text, '\n')
}

// ID returns what the metadata of a catalog call the key: the SHA-256 of its
// canonical JSON in The Update Framework, in hexadecimal.
func (k PublicKey) ID() string {
	id, err := k.tuf().ID()
	if err != nil {
		panic(err) // hexadecimal digits have a canonical form
	}
	return id
}

// Number returns what minisign calls the key: 16 hexadecimal digits.
func (k PublicKey) Number() string { return fmt.Sprintf("%016X", k.mini.ID()) }

// tuf returns the key as it stands in a root.
func (k PublicKey) tuf() *metadata.Key {
	key, err := metadata.KeyFromPublicKey(k.raw)
	if err != nil {
		panic(err) // it knows Ed25519
	}
	return key
}

// A SecretKey signs. It is safe for concurrent use.
type SecretKey struct {
	mini   minisign.PrivateKey
	public PublicKey
}

// GenerateKey makes a new key.
func GenerateKey() (*SecretKey, error) {
	_, private, err := minisign.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	return newSecretKey(private)
}

// newSecretKey makes sure that both halves of a key are of one key: signatures
// with halves that are not would give the secret one away.
func newSecretKey(private minisign.PrivateKey) (*SecretKey, error) {
	half, ok := private.Public().(minisign.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: a secret key without a public one", ErrKey)
	}
	public, err := ParsePublicKey([]byte(half.String()))
	if err != nil {
		return nil, err
	}
	k := &SecretKey{private, public}
	if !k.whole() {
		return nil, fmt.Errorf("%w: the secret key is damaged", ErrKey)
	}
	return k, nil
}

// whole tells whether the public half belongs to the secret one.
func (k *SecretKey) whole() bool {
	text, err := k.mini.MarshalText()
	if err != nil {
		return false
	}
	raw, err := decodeSecret(text)
	if err != nil {
		return false
	}
	seed, public := raw[secretSeed:secretPublic], raw[secretPublic:secretPublic+ed25519.PublicKeySize]
	want := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	return subtle.ConstantTimeCompare(want, public) == 1
}

// Places in a secret key of minisign: algorithms (6 bytes), salt (32), two
// limits (8 each), and then, encrypted or not, the number of the key (8), its
// seed (32), its public half (32) and a checksum (32).
// https://jedisct1.github.io/minisign/, "Secret key format".
const (
	secretKDF    = 2
	secretOps    = 38
	secretMem    = 46
	secretSeed   = 62
	secretPublic = secretSeed + ed25519.SeedSize
	secretSize   = 158
)

// Public returns the public half.
func (k *SecretKey) Public() PublicKey { return k.public }

// Encode returns the key as a file in the format of minisign, encrypted with
// the passphrase. Without one it is not encrypted. Encrypting takes a gibibyte
// of memory and some seconds, and so does reading it again.
func (k *SecretKey) Encode(passphrase string) ([]byte, error) {
	encode := k.mini.MarshalText
	if passphrase != "" {
		encode = func() ([]byte, error) { return minisign.EncryptKey(passphrase, k.mini) }
	}
	text, err := encode()
	if err != nil {
		return nil, err
	}
	return append(text, '\n'), nil
}

// ParseSecretKey reads a secret key in the format of minisign. passphrase is
// asked for one if the key is encrypted. An error wraps [ErrKey], or
// [ErrPassphrase], or is the one of passphrase.
func ParseSecretKey(text []byte, passphrase func() (string, error)) (*SecretKey, error) {
	raw, err := decodeSecret(text)
	if err != nil {
		return nil, err
	}
	if [2]byte(raw[secretKDF:]) == kdfNone {
		var private minisign.PrivateKey
		if err := private.UnmarshalText(text); err != nil {
			return nil, fmt.Errorf("%w: not a secret key of minisign", ErrKey)
		}
		return newSecretKey(private)
	}
	secret, err := passphrase()
	if err != nil {
		return nil, err
	}
	private, err := minisign.DecryptKey(secret, text)
	if err != nil {
		return nil, ErrPassphrase
	}
	return newSecretKey(private)
}

// Encrypted tells whether text is a secret key that a passphrase opens.
func Encrypted(text []byte) bool {
	raw, err := decodeSecret(text)
	return err == nil && [2]byte(raw[secretKDF:]) == kdfScrypt
}

// How a secret key is encrypted, see secretKDF.
var (
	kdfNone   = [2]byte{}
	kdfScrypt = [2]byte{'S', 'c'}
)

// The most that opening an encrypted key may cost, as in minisign: libsodium's
// limits for sensitive data, of operations and of bytes.
const (
	maxOps = 1 << 25
	maxMem = 1 << 30
)

// decodeSecret returns the bytes of a secret key, and makes sure that they can
// be one.
func decodeSecret(text []byte) ([]byte, error) {
	if len(text) > maxKeyFile {
		return nil, fmt.Errorf("%w: %d bytes are no secret key", ErrKey, len(text))
	}
	if line, rest, ok := bytes.Cut(text, []byte("\n")); ok && bytes.HasPrefix(line, []byte("untrusted comment: ")) {
		text = rest
	}
	raw, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil || len(raw) != secretSize || [2]byte(raw) != [2]byte{'E', 'd'} || [2]byte(raw[4:]) != [2]byte{'B', '2'} {
		return nil, fmt.Errorf("%w: not a secret key of minisign", ErrKey)
	}
	switch kdf := [2]byte(raw[secretKDF:]); {
	case kdf != kdfNone && kdf != kdfScrypt:
		return nil, fmt.Errorf("%w: encrypted in an unknown way, %q", ErrKey, kdf)
	case binary.LittleEndian.Uint64(raw[secretOps:]) > maxOps, binary.LittleEndian.Uint64(raw[secretMem:]) > maxMem:
		return nil, fmt.Errorf("%w: opening it would take more than minisign allows", ErrKey)
	}
	return raw, nil
}

// sign returns the Ed25519 signature of message.
func (k *SecretKey) sign(message []byte) ([]byte, error) {
	// A signature of minisign that is not of a hash first is Ed25519 of the
	// message itself.
	var s minisign.Signature
	if err := s.UnmarshalText(minisign.Sign(k.mini, message)); err != nil {
		return nil, err
	}
	return s.Signature[:], nil
}
