package debian

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// TestOneSignatureIsEnough shows that an expired key, or an unknown one, does
// not spoil the signature of a good one, in whatever order they stand.
func TestOneSignatureIsEnough(t *testing.T) {
	good, expired, unknown := newKey(t, time.Hour, 0), newKey(t, 48*time.Hour, 24*time.Hour), newKey(t, time.Hour, 0)
	ring := openpgp.EntityList{expired, good}
	tests := []struct {
		name string
		keys []*openpgp.Entity
		ok   bool
	}{
		{"good", []*openpgp.Entity{good}, true},
		{"expired first", []*openpgp.Entity{expired, good}, true},
		{"unknown first", []*openpgp.Entity{unknown, good}, true},
		{"good first", []*openpgp.Entity{good, expired, unknown}, true},
		{"expired", []*openpgp.Entity{expired}, false},
		{"unknown", []*openpgp.Entity{unknown}, false},
		{"expired and unknown", []*openpgp.Entity{expired, unknown}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, err := openSigned(clearSign(t, "Suite: a\n- dashed\n", tt.keys...), ring, time.Now())
			if !tt.ok && !errors.Is(err, ErrUntrusted) {
				t.Errorf("openSigned = %q, %v, want ErrUntrusted", text, err)
			}
			if tt.ok && (err != nil || string(text) != "Suite: a\n- dashed\n") {
				t.Errorf("openSigned = %q, %v, want the text", text, err)
			}
		})
	}
}

// TestTextAround shows that nothing that stands beside the signed text is taken
// for it.
func TestTextAround(t *testing.T) {
	key := newKey(t, time.Hour, 0)
	message := "Suite: evil\n" + string(clearSign(t, "Suite: good\n", key)) + "Suite: evil\n"
	text, err := openSigned([]byte(message), openpgp.EntityList{key}, time.Now())
	if err != nil || string(text) != "Suite: good\n" {
		t.Errorf("openSigned = %q, %v, want the signed text alone", text, err)
	}
}

func TestReadKeyring(t *testing.T) {
	key := newKey(t, time.Hour, 0)
	var plain, armoured bytes.Buffer
	w, err := armor.Encode(&armoured, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(key.Serialize(&plain), key.Serialize(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"plain": plain.Bytes(), "armoured": armoured.Bytes()} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if keys, err := readKeyrings(file); err != nil || len(keys) != 1 {
			t.Errorf("%s: %d keys, %v, want one", name, len(keys), err)
		}
	}
}

// FuzzOpenSigned changes a signed message: whatever is still accepted must say
// what was signed.
func FuzzOpenSigned(f *testing.F) {
	const signed = "Suite: a\n- Date: x\nSHA256:\n b\n"
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(fuzzKey))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(fuzzMessage))
	f.Add([]byte(strings.ReplaceAll(fuzzMessage, "\n", "\r\n")))
	if text, err := openSigned([]byte(fuzzMessage), ring, time.Unix(fuzzTime+60, 0)); err != nil || string(text) != signed {
		f.Fatalf("openSigned = %q, %v, want %q", text, err, signed)
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		text, err := openSigned(message, ring, time.Unix(fuzzTime+60, 0))
		if err == nil && squeeze(string(text)) != squeeze(signed) {
			t.Errorf("%q is accepted for %q", text, signed)
		}
	})
}

// squeeze leaves out what a clear signature does not cover: blanks at the ends
// of lines (RFC 9580, section 7.2), and how lines end.
func squeeze(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		out.WriteString(strings.TrimRight(line, " \t\r\n") + "\n")
	}
	return out.String()
}
