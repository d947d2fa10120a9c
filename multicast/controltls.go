package multicast

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"
)

// The two protocols of the control port, as ALPN calls them.
const (
	alpnControl = "slipcast/1"
	alpnHTTPS   = "http/1.1"
)

// newIdentity makes the certificate of a session and its fingerprint. The key
// lives as long as the session. Ed25519 because its keys and signatures are the
// shortest, and each receiver gets the certificate; for the same reason nothing
// is in it that nobody looks at.
func newIdentity() (tls.Certificate, [32]byte, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return tls.Certificate{}, [32]byte{}, fmt.Errorf("making a key for TLS: %w", err)
	}
	// Machines that have just been switched on may not know the time, so it
	// does not count: from the first moment of the calendar to the last (RFC
	// 5280, section 4.1.2.5).
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Date(1950, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return tls.Certificate{}, [32]byte{}, fmt.Errorf("making a certificate: %w", err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	return cert, sha256.Sum256(der), nil
}

// serverTLS returns what the sender wants of TLS. Session tickets would cost
// each receiver's handshake more bytes than a receiver that comes again saves.
func serverTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{cert},
		CurvePreferences:       []tls.CurveID{tls.X25519}, // a post-quantum exchange is 2.3 kB longer
		NextProtos:             []string{alpnControl, alpnHTTPS},
		SessionTicketsDisabled: true,
	}
}

// clientTLS returns what a receiver wants of TLS. Without a fingerprint it
// takes any certificate that is signed by itself.
func clientTLS(fingerprint []byte, alpn string) *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos:       []string{alpn},

		// There is no authority that could vouch for a room's sender. What
		// counts is the fingerprint and the proof of the key.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if s.NegotiatedProtocol != alpn {
				return fmt.Errorf("%w: it does not speak %s", ErrRefused, alpn)
			}
			return checkCertificate(s.PeerCertificates, fingerprint)
		},
	}
}

// checkCertificate returns an error that wraps [ErrRefused] if a sender's
// certificate is not the one that is wanted.
func checkCertificate(certs []*x509.Certificate, fingerprint []byte) error {
	if len(certs) != 1 {
		return fmt.Errorf("%w: %d certificates, want 1", ErrRefused, len(certs))
	}
	cert := certs[0]
	if len(fingerprint) == 0 {
		if err := cert.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
			return fmt.Errorf("%w: its certificate is not signed by itself: %w", ErrRefused, err)
		}
		return nil
	}
	if got := sha256.Sum256(cert.Raw); subtle.ConstantTimeCompare(got[:], fingerprint) != 1 {
		return fmt.Errorf("%w: its fingerprint is %x, want %x", ErrRefused, got, fingerprint)
	}
	return nil
}
