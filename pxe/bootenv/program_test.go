package bootenv

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// A testSection is a section of a program that a test builds.
type testSection struct {
	name string
	data []byte
}

// buildProgram returns an EFI program for amd64: headers of 1 KiB, the
// sections, each at a multiple of 512 bytes, and a string table for long names.
func buildProgram(sections ...testSection) []byte {
	const headers, optionalSize = 1024, 240
	le := binary.LittleEndian
	p := make([]byte, headers)
	copy(p, "MZ")
	le.PutUint32(p[0x3c:], 0x40)
	copy(p[0x40:], "PE\x00\x00")
	le.PutUint16(p[0x44:], 0x8664)
	le.PutUint16(p[0x46:], uint16(len(sections)))
	le.PutUint16(p[0x54:], optionalSize)
	le.PutUint16(p[0x56:], 0x0206)
	optional := p[0x58:]
	le.PutUint16(optional, 0x20b)
	le.PutUint32(optional[32:], 4096) // SectionAlignment
	le.PutUint32(optional[36:], 512)  // FileAlignment
	le.PutUint32(optional[56:], uint32(4096*(len(sections)+1)))
	le.PutUint32(optional[60:], headers)
	le.PutUint16(optional[68:], 10) // an EFI application
	le.PutUint32(optional[108:], 16)
	names := []byte{0, 0, 0, 0}
	for i, s := range sections {
		header := p[0x58+optionalSize+40*i:][:40]
		name := s.name
		if len(name) > 8 {
			name = "/" + big.NewInt(int64(len(names))).String()
			names = append(append(names, s.name...), 0)
		}
		copy(header, name)
		size := (len(s.data) + 511) &^ 511
		le.PutUint32(header[8:], uint32(len(s.data)))
		le.PutUint32(header[12:], uint32(4096*(i+1)))
		le.PutUint32(header[16:], uint32(size))
		le.PutUint32(header[20:], uint32(len(p)))
		le.PutUint32(header[36:], 0x40000040)
		p = append(p, s.data...)
		p = append(p, make([]byte, size-len(s.data))...)
	}
	le.PutUint32(names, uint32(len(names)))
	le.PutUint32(p[0x4c:], uint32(len(p))) // symbols: none, the names follow
	p = append(p, names...)
	return append(p, make([]byte, -len(p)&7)...)
}

// testKey reads a key of testkeys_test.go.
func testKey(t testing.TB, text string) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certificate makes a certificate for key that parent has signed; without a
// parent it signs itself. It has expired long ago, as in firmware it may.
func certificate(t testing.TB, name string, key *rsa.PrivateKey, parent *x509.Certificate, parentKey *rsa.PrivateKey) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(86400, 0), BasicConstraintsValid: true, IsCA: parent == nil,
	}
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// testCA is the authority of these tests.
func testCA(t testing.TB) *x509.Certificate {
	t.Helper()
	key := testKey(t, caKey)
	return certificate(t, "Test CA", key, nil, key)
}

// sign appends a signature of the program by the signer of these tests.
func sign(t testing.TB, program []byte) []byte {
	t.Helper()
	cert := certificate(t, "Test Signer", testKey(t, signerKey), testCA(t), testKey(t, caKey))
	p, err := ParseProgram(program)
	if err != nil {
		t.Fatal(err)
	}
	program = bytes.Clone(program)
	der := signMessage(t, p.Digest(crypto.SHA256), cert, testKey(t, signerKey))
	entry := binary.LittleEndian.AppendUint32(nil, uint32(8+len(der)))
	entry = append(entry, 0, 2, 2, 0)
	entry = append(entry, der...)
	entry = append(entry, make([]byte, -len(entry)&7)...)
	start := len(program) - len(p.certs)
	program = append(program, entry...)
	binary.LittleEndian.PutUint32(program[p.certDir:], uint32(start))
	binary.LittleEndian.PutUint32(program[p.certDir+4:], uint32(len(program)-start))
	return program
}

// signMessage returns a PKCS #7 message over the digest of a program.
func signMessage(t testing.TB, digest []byte, cert *x509.Certificate, key *rsa.PrivateKey) []byte {
	t.Helper()
	sha256 := pkix.AlgorithmIdentifier{Algorithm: oidSHA256, Parameters: asn1.NullRawValue}
	var data indirectData
	data.Data.FullBytes = der(t, []asn1.ObjectIdentifier{{1, 3, 6, 1, 4, 1, 311, 2, 1, 15}})
	data.Digest.Algorithm, data.Digest.Digest = sha256, digest
	content := der(t, data)
	var inner asn1.RawValue
	if err := unmarshal(content, &inner); err != nil {
		t.Fatal(err)
	}
	attributes := der(t, []attribute{
		{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}, setOf(der(t, oidIndirectData))},
		{oidMessageDigest, setOf(der(t, sum(crypto.SHA256, inner.Bytes)))},
	})
	attributes[0] = 0x31 // a set
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum(crypto.SHA256, attributes))
	if err != nil {
		t.Fatal(err)
	}
	attributes[0] = 0xa0
	signed := signedData{
		Version: 1, DigestAlgorithms: []pkix.AlgorithmIdentifier{sha256},
		Content:      contentInfo{oidIndirectData, tagged(content)},
		Certificates: rawTagged{der(t, tagged(cert.Raw))},
		Signers: []signerInfo{{
			Version: 1, ID: issuerAndSerial{asn1.RawValue{FullBytes: cert.RawIssuer}, cert.SerialNumber},
			DigestAlgorithm: sha256, Attributes: rawTagged{attributes},
			EncryptionAlgorithm: pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue},
			EncryptedDigest:     signature,
		}},
	}
	return der(t, contentInfo{oidSignedData, tagged(der(t, signed))})
}

// der encodes a value.
func der(t testing.TB, v any) []byte {
	t.Helper()
	out, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// tagged is [0] around content.
func tagged(content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: content}
}

// setOf is a set of what content is.
func setOf(content []byte) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: content}
}
