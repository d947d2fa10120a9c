package trust

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"aead.dev/minisign"
	"golang.org/x/crypto/blake2b"
	"golang.org/x/crypto/scrypt"
)

// A key that is not encrypted comes back from its file, and asks for nothing.
func TestSecretKeyPlain(t *testing.T) {
	k := newKey(t)
	p, err := k.Encode("")
	if err != nil {
		t.Fatal(err)
	}
	if Encrypted(p) {
		t.Error("it is called encrypted")
	}
	got, err := ParseSecretKey(p, func() (string, error) { return "", errors.New("asked") })
	if err != nil || got.Public().ID() != k.Public().ID() || got.Public().Number() != k.Public().Number() {
		t.Errorf("got %v, %v", got, err)
	}
	public, err := ParsePublicKey(k.Public().Encode())
	if err != nil || public.ID() != k.Public().ID() {
		t.Errorf("its public half: %v, %v", public, err)
	}
}

// cheap returns a key as Encode does, but with an encryption that is opened at once.
func cheap(t testing.TB, k *SecretKey, passphrase string) []byte {
	t.Helper()
	text, err := k.mini.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := decodeSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	copy(raw[secretKDF:], kdfScrypt[:])
	copy(raw[6:], "a salt of 32 bytes is not secret")
	binary.LittleEndian.PutUint64(raw[secretOps:], 1<<15)
	binary.LittleEndian.PutUint64(raw[secretMem:], 1<<20)
	sum := blake2b.Sum256(append([]byte("Ed"), raw[54:126]...))
	copy(raw[126:], sum[:])
	stream, err := scrypt.Key([]byte(passphrase), raw[6:38], 1<<10, 8, 1, 104)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range stream {
		raw[54+i] ^= b
	}
	return []byte(base64.StdEncoding.EncodeToString(raw) + "\n")
}

func TestPassphrase(t *testing.T) {
	k := newKey(t)
	p := cheap(t, k, "correct horse")
	say := func(text string) func() (string, error) { return func() (string, error) { return text, nil } }
	if got, err := ParseSecretKey(p, say("correct horse")); err != nil || got.Public().ID() != k.Public().ID() {
		t.Errorf("the right one: %v, %v", got, err)
	}
	if _, err := ParseSecretKey(p, say("battery staple")); !errors.Is(err, ErrPassphrase) {
		t.Errorf("a wrong one: %v, want ErrPassphrase", err)
	}
	if _, err := ParseSecretKey(p, func() (string, error) { return "", io.ErrUnexpectedEOF }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("none: %v, want what the asking gave", err)
	}
}

// A secret key that is damaged signs nothing: with halves of two keys a signature
// would tell the secret one.
func TestSecretKeyDamaged(t *testing.T) {
	k := newKey(t)
	text, err := k.mini.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	whole, err := decodeSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, secretKDF, 4, secretSeed, secretPublic, secretPublic + 31} {
		raw := bytes.Clone(whole)
		raw[at] ^= 1
		if _, err := ParseSecretKey([]byte(base64.StdEncoding.EncodeToString(raw)), nil); !errors.Is(err, ErrKey) {
			t.Errorf("byte %d changed: %v, want ErrKey", at, err)
		}
	}
	costly := bytes.Clone(whole)
	copy(costly[secretKDF:], kdfScrypt[:])
	binary.LittleEndian.PutUint64(costly[secretMem:], maxMem+1)
	for name, text := range map[string]string{
		"empty": "", "a public key": string(k.Public().Encode()), "short": base64.StdEncoding.EncodeToString(whole[:100]),
		"costly": base64.StdEncoding.EncodeToString(costly), "long": strings.Repeat("A", maxKeyFile+1),
	} {
		if _, err := ParseSecretKey([]byte(text), nil); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
	for name, text := range map[string]string{"empty": "", "a secret key": string(text), "long": strings.Repeat("A", maxKeyFile+1)} {
		if _, err := ParsePublicKey([]byte(text)); !errors.Is(err, ErrKey) {
			t.Errorf("as a public key, %s: %v, want ErrKey", name, err)
		}
	}
}

func TestSignFile(t *testing.T) {
	author, other := newKey(t), newKey(t)
	sig, err := SignFile(t.Context(), strings.NewReader("contents"), author, "reader@9.3-1")
	if err != nil {
		t.Fatal(err)
	}
	known := []PublicKey{other.Public(), author.Public()}
	by, err := VerifyFile(t.Context(), strings.NewReader("contents"), sig, known)
	if err != nil || by.Number() != author.Public().Number() {
		t.Errorf("by %v, %v; want %v", by.Number(), err, author.Public().Number())
	}
	for name, tt := range map[string]struct {
		contents string
		sig      []byte
		authors  []PublicKey
	}{
		"other contents":     {"Contents", sig, known},
		"by somebody else":   {"contents", sig, known[:1]},
		"no authors":         {"contents", sig, nil},
		"no signature":       {"contents", nil, known},
		"another comment":    {"contents", bytes.Replace(sig, []byte("reader"), []byte("writer"), 1), known},
		"of the old kind":    {"contents", minisign.Sign(author.mini, []byte("contents")), known},
		"of the hash itself": {"contents", oldKind(t, author, "contents"), known},
		"very long":          {"contents", append(sig, make([]byte, maxSignature)...), known},
	} {
		if _, err := VerifyFile(t.Context(), strings.NewReader(tt.contents), tt.sig, tt.authors); !errors.Is(err, ErrAuthor) {
			t.Errorf("%s: %v, want ErrAuthor", name, err)
		}
	}
}

// oldKind returns a signature of the old kind over the hash of contents, which the
// library takes for one of contents.
func oldKind(t *testing.T, k *SecretKey, contents string) []byte {
	t.Helper()
	sum := blake2b.Sum512([]byte(contents))
	sig := minisign.Sign(k.mini, sum[:])
	m := minisign.NewReader(strings.NewReader(contents))
	if _, err := io.Copy(io.Discard, m); err != nil {
		t.Fatal(err)
	}
	if !m.Verify(k.public.mini, sig) {
		t.Fatal("the library does not take it any more, so nothing is tested here")
	}
	return sig
}

// What minisign 0.11 has made (minisign -G, -G -W and -S), and a new passphrase for
// that. Each takes a gibibyte of memory and some seconds, which is the point of it.
func TestMinisign(t *testing.T) {
	t.Parallel()
	for name, passphrase := range map[string]string{"author": "correct horse", "plain": ""} {
		if passphrase != "" && raceDetector {
			continue // takes 1 GiB, and 6 with the race detector; make unit runs it without
		}
		secret, err := ParseSecretKey(testFile(t, name+".key"), func() (string, error) { return passphrase, nil })
		if err != nil {
			t.Fatal(err)
		}
		again, err := secret.Encode(passphrase)
		if err != nil || Encrypted(again) != (passphrase != "") {
			t.Errorf("%s.key is written as %s, %v", name, again, err)
		}
		public, err := ParsePublicKey(testFile(t, name+".pub"))
		if err != nil || public.ID() != secret.Public().ID() || public.Number() != secret.Public().Number() {
			t.Errorf("%s.pub: %v, %v; want the half of %s.key, %v", name, public.Number(), err, name, secret.Public().Number())
		}
	}
	author, err := ParsePublicKey(testFile(t, "author.pub"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyFile(t.Context(), bytes.NewReader(testFile(t, "made.txt")), testFile(t, "made.txt.minisig"), []PublicKey{author}); err != nil {
		t.Errorf("its signature: %v", err)
	}
}

func testFile(t *testing.T, name string) []byte {
	t.Helper()
	p, err := os.ReadFile("testdata/minisign/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
