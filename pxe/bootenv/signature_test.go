package bootenv

import (
	"bytes"
	"errors"
	"testing"
)

// program is ParseProgram of a program that is right.
func program(t testing.TB, data []byte) *Program {
	t.Helper()
	p, err := ParseProgram(data)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSignatures(t *testing.T) {
	if _, err := program(t, sample()).Signatures(); !errors.Is(err, ErrUnsigned) {
		t.Errorf("Signatures of an unsigned program = %v, want ErrUnsigned", err)
	}
	twice := sign(t, sign(t, sample()))
	got, err := program(t, twice).Signatures()
	if err != nil || len(got) != 2 {
		t.Fatalf("Signatures = %d, %v, want two", len(got), err)
	}
	for _, s := range got {
		if s.Signer != "Test Signer" || s.Issuer != "Test CA" {
			t.Errorf("signed by %q of %q, want Test Signer of Test CA", s.Signer, s.Issuer)
		}
		if !s.ChainsTo(testCA(t)) {
			t.Error("the signature does not chain to Test CA")
		}
		key := testKey(t, signerKey)
		if s.ChainsTo(certificate(t, "Test CA", key, nil, key)) {
			t.Error("the signature chains to an authority that has only the name of ours")
		}
	}
}

// TestChangedPrograms changes a byte of a signed program, in many places.
func TestChangedPrograms(t *testing.T) {
	ca := testCA(t)
	good := sign(t, sample())
	p := program(t, good)
	certs := len(good) - len(p.certs)
	places := []int{0x20, 0x50, 0x400, 0x700, certs - 1, certs, certs + 5, certs + 6}
	for i := certs + 8; i < len(good)-8; i += 5 {
		places = append(places, i)
	}
	for _, i := range places {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		p, err := ParseProgram(bad)
		if err != nil {
			continue
		}
		s, err := p.Signatures()
		if err != nil && !errors.Is(err, ErrSignature) {
			t.Errorf("byte %#x changed: %v, want ErrSignature", i, err)
		}
		if err != nil {
			continue
		}
		// Fields that vouch for nothing may change, as the name of an
		// algorithm, and so may the certificate that comes with the signature;
		// but then nobody vouches for that one any more.
		if i < certs || s[0].ChainsTo(ca) && s[0].Signer != "Test Signer" {
			t.Errorf("byte %#x changed, and the signature of %q holds", i, s[0].Signer)
		}
	}
}
