package bootenv

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
)

// The structures of a PKCS #7 message (RFC 2315) and of what Authenticode puts
// into it. Fields that are of no use here are named for their place alone.
type (
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"explicit,optional,tag:0"`
	}
	signedData struct {
		Version          int
		DigestAlgorithms []pkix.AlgorithmIdentifier `asn1:"set"`
		Content          contentInfo
		Certificates     rawTagged    `asn1:"optional,tag:0"`
		RevocationLists  rawTagged    `asn1:"optional,tag:1"`
		Signers          []signerInfo `asn1:"set"`
	}
	signerInfo struct {
		Version             int
		ID                  issuerAndSerial
		DigestAlgorithm     pkix.AlgorithmIdentifier
		Attributes          rawTagged `asn1:"optional,tag:0"`
		EncryptionAlgorithm pkix.AlgorithmIdentifier
		EncryptedDigest     []byte
		Unauthenticated     rawTagged `asn1:"optional,tag:1"`
	}
	issuerAndSerial struct {
		Issuer asn1.RawValue
		Serial *big.Int
	}
	attribute struct {
		Type   asn1.ObjectIdentifier
		Values asn1.RawValue `asn1:"set"`
	}
	indirectData struct { // SpcIndirectDataContent
		Data   asn1.RawValue
		Digest struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
	}

	// rawTagged keeps a constructed value with its tag.
	rawTagged struct{ Raw asn1.RawContent }
)

var (
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidIndirectData  = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 4}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidSHA384        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}
	oidSHA512        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}
)

// A message is a PKCS #7 message that signs the digest of a program.
type message struct {
	signers []signerInfo
	certs   []*x509.Certificate
	content []byte // what is signed: the DER of an indirectData without its tag and length
	hash    crypto.Hash
	digest  []byte // of the program
}

// parseMessage reads a message in DER, which zero bytes may follow.
func parseMessage(der []byte) (*message, error) {
	var outer contentInfo
	rest, err := asn1.Unmarshal(der, &outer)
	if err != nil {
		return nil, err
	}
	if len(bytes.Trim(rest, "\x00")) > 0 || !outer.Type.Equal(oidSignedData) {
		return nil, errors.New("not a signed PKCS #7 message")
	}
	var signed signedData
	if err := unmarshal(outer.Content.Bytes, &signed); err != nil {
		return nil, err
	}
	if !signed.Content.Type.Equal(oidIndirectData) {
		return nil, errors.New("the message signs no program")
	}
	m := &message{signers: signed.Signers}
	if err := m.parseContent(signed.Content.Content.Bytes); err != nil {
		return nil, err
	}
	if len(signed.Certificates.Raw) > 0 {
		var all asn1.RawValue
		if err := unmarshal(signed.Certificates.Raw, &all); err != nil {
			return nil, err
		}
		m.certs, err = x509.ParseCertificates(all.Bytes)
	}
	return m, err
}

// parseContent reads the digest that is signed.
func (m *message) parseContent(der []byte) error {
	var data indirectData
	if err := unmarshal(der, &data); err != nil {
		return err
	}
	var whole asn1.RawValue
	if err := unmarshal(der, &whole); err != nil {
		return err
	}
	m.content, m.digest = whole.Bytes, data.Digest.Digest
	var err error
	m.hash, err = hashOf(data.Digest.Algorithm)
	return err
}

// unmarshal reads der, behind which there may be nothing.
func unmarshal(der []byte, v any) error {
	rest, err := asn1.Unmarshal(der, v)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes behind a value", len(rest))
	}
	return err
}

// hashOf returns the hash that an algorithm is.
func hashOf(a pkix.AlgorithmIdentifier) (crypto.Hash, error) {
	switch {
	case a.Algorithm.Equal(oidSHA256):
		return crypto.SHA256, nil
	case a.Algorithm.Equal(oidSHA384):
		return crypto.SHA384, nil
	case a.Algorithm.Equal(oidSHA512):
		return crypto.SHA512, nil
	}
	return 0, fmt.Errorf("digest algorithm %v", a.Algorithm)
}

// verify checks what a signer says about the content, and returns its
// certificate.
func (m *message) verify(s signerInfo) (*x509.Certificate, error) {
	cert := m.find(s.ID)
	if cert == nil {
		return nil, errors.New("the certificate of the signer is not in the message")
	}
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the key of %s is not an RSA key", cert.Subject.CommonName)
	}
	hash, err := hashOf(s.DigestAlgorithm)
	if err != nil {
		return nil, err
	}
	stated, err := s.messageDigest()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(stated, sum(hash, m.content)) {
		return nil, errors.New("the signer has signed something else")
	}
	// Signed is the set of attributes with the tag of a set instead of [0],
	// RFC 2315, section 9.3.
	attributes := bytes.Clone(s.Attributes.Raw)
	attributes[0] = 0x31
	return cert, rsa.VerifyPKCS1v15(key, hash, sum(hash, attributes), s.EncryptedDigest)
}

// sum returns the digest of p.
func sum(hash crypto.Hash, p []byte) []byte {
	h := hash.New()
	h.Write(p)
	return h.Sum(nil)
}

// find returns the certificate of a signer, nil if it is not there.
func (m *message) find(id issuerAndSerial) *x509.Certificate {
	for _, c := range m.certs {
		if bytes.Equal(c.RawIssuer, id.Issuer.FullBytes) && c.SerialNumber.Cmp(id.Serial) == 0 {
			return c
		}
	}
	return nil
}

// messageDigest returns the digest of the content that the signer states in its
// attributes.
func (s signerInfo) messageDigest() ([]byte, error) {
	if len(s.Attributes.Raw) == 0 {
		return nil, errors.New("the signer states no attributes")
	}
	var set asn1.RawValue
	if err := unmarshal(s.Attributes.Raw, &set); err != nil {
		return nil, err
	}
	for rest := set.Bytes; len(rest) > 0; {
		var a attribute
		var err error
		if rest, err = asn1.Unmarshal(rest, &a); err != nil {
			return nil, err
		}
		if a.Type.Equal(oidMessageDigest) {
			var digest []byte
			err := unmarshal(a.Values.Bytes, &digest)
			return digest, err
		}
	}
	return nil, errors.New("the signer states no digest")
}
