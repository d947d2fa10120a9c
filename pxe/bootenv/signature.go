package bootenv

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
)

var (
	// ErrUnsigned reports a program without a signature.
	ErrUnsigned = errors.New("not signed")

	// ErrSignature reports a signature that does not hold: the program is
	// damaged, or was changed after it was signed.
	ErrSignature = errors.New("its signature does not hold")
)

// maxSignatures is how many signatures of one program are looked at.
const maxSignatures = 16

// A Signature is one signature of a program, which has been checked against it.
type Signature struct {
	Signer string // whose key made it, "Debian Secure Boot Signer 2022 - grub2"
	Issuer string // who vouches for that key, "Debian Secure Boot CA"

	signer *x509.Certificate
	certs  []*x509.Certificate // that came with it
}

// Signatures checks and returns the signatures of the program. Each of them
// must hold, by the certificate that came with it; whether anybody trusts that
// certificate is for [Signature.ChainsTo]. As in firmware, certificates do not
// expire. Errors wrap [ErrUnsigned] or [ErrSignature].
func (p *Program) Signatures() ([]Signature, error) {
	if len(p.certs) == 0 {
		return nil, ErrUnsigned
	}
	var out []Signature
	for rest := p.certs; len(rest) > 0; {
		if len(out) == maxSignatures {
			return nil, fmt.Errorf("%w: more than %d", ErrSignature, maxSignatures)
		}
		der, after, err := nextCertificate(rest)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSignature, err)
		}
		s, err := p.verify(der)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSignature, err)
		}
		out = append(out, s)
		rest = after
	}
	return out, nil
}

// nextCertificate cuts one WIN_CERTIFICATE off the certificate table: its
// length, revision 2.0 and type 2 (PKCS #7), then the message. The next one
// begins at a multiple of eight bytes.
func nextCertificate(table []byte) (der, rest []byte, err error) {
	const header = 8
	if len(table) < header {
		return nil, nil, errors.New("its table ends early")
	}
	length := int64(binary.LittleEndian.Uint32(table))
	revision, kind := binary.LittleEndian.Uint16(table[4:]), binary.LittleEndian.Uint16(table[6:])
	if length < header || length > int64(len(table)) {
		return nil, nil, fmt.Errorf("%d bytes in a table of %d", length, len(table))
	}
	if revision != 0x0200 || kind != 2 {
		return nil, nil, fmt.Errorf("revision %#x of type %d", revision, kind)
	}
	next := min((length+7)&^7, int64(len(table)))
	return table[header:length], table[next:], nil
}

// verify checks one signature.
func (p *Program) verify(der []byte) (Signature, error) {
	m, err := parseMessage(der)
	if err != nil {
		return Signature{}, err
	}
	if len(m.signers) != 1 {
		return Signature{}, fmt.Errorf("%d signers, want one", len(m.signers))
	}
	if !bytes.Equal(m.digest, p.Digest(m.hash)) {
		return Signature{}, errors.New("the program was changed after it was signed")
	}
	signer, err := m.verify(m.signers[0])
	if err != nil {
		return Signature{}, err
	}
	return Signature{Signer: signer.Subject.CommonName, Issuer: signer.Issuer.CommonName, signer: signer, certs: m.certs}, nil
}

// ChainsTo tells whether the signature was made by ca or by one that ca vouches
// for, directly or through certificates that came with the signature.
func (s Signature) ChainsTo(ca *x509.Certificate) bool {
	cert := s.signer
	for range len(s.certs) + 1 {
		if cert.Equal(ca) || vouches(ca, cert) {
			return true
		}
		parent := s.parent(cert)
		if parent == nil {
			return false
		}
		cert = parent
	}
	return false
}

// parent returns the certificate that vouches for cert, from those that came
// with the signature; nil if it is not there.
func (s Signature) parent(cert *x509.Certificate) *x509.Certificate {
	for _, c := range s.certs {
		if !c.Equal(cert) && vouches(c, cert) {
			return c
		}
	}
	return nil
}

// vouches tells whether the key of ca has signed cert.
func vouches(ca, cert *x509.Certificate) bool {
	return bytes.Equal(ca.RawSubject, cert.RawIssuer) &&
		ca.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) == nil
}
