package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/internal/durable"
)

// A serverKey is who a server is: agents know it by its pin, which boot build
// and serve put into what they hand out.
type serverKey struct {
	cert   tls.Certificate
	pin    string // SHA-256 of the SubjectPublicKeyInfo, hexadecimal
	secret []byte // that the keys of sessions come from
}

// Files of a serverKey in the state folder.
const (
	keyFile  = "server.key"
	certFile = "server.crt"
)

// openServerKey reads the key of the server whose state folder is dir, and
// makes one if there is none. Several processes may do so at once.
func openServerKey(dir string) (*serverKey, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(dir, keyFile+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, err
	}
	key, cert := filepath.Join(dir, keyFile), filepath.Join(dir, certFile)
	if _, err := os.Stat(key); errors.Is(err, fs.ErrNotExist) {
		if err := makeServerKey(key, cert); err != nil {
			return nil, fmt.Errorf("making the server's key: %w", err)
		}
	}
	return loadServerKey(key, cert)
}

// loadServerKey reads a key and its certificate.
func loadServerKey(key, cert string) (*serverKey, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cert, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	secret := sha256.Sum256(append([]byte("slipcast sessions\x00"), private...))
	return &serverKey{cert: pair, pin: hex.EncodeToString(sum[:]), secret: secret[:]}, nil
}

// makeServerKey writes a new key and a certificate that it signs itself. The
// key comes last: where it is, the certificate is.
func makeServerKey(keyPath, certPath string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "slipcast " + hostName()},
		DNSNames: []string{hostName()},
		// A machine's clock may be years off; agents look at the key alone.
		NotBefore: time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Now().AddDate(30, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(certPath, 0o644, "CERTIFICATE", cert); err != nil {
		return err
	}
	return writePEM(keyPath, 0o600, "PRIVATE KEY", private)
}

// writePEM writes a file that is there whole or not at all.
func writePEM(path string, mode fs.FileMode, kind string, data []byte) error {
	return durable.WriteFile(path, mode, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
}

// session returns the key of a session. It is the same after a restart, so
// that receivers know the sender again.
func (k *serverKey) session(name string) string {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(name)) // never fails
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
