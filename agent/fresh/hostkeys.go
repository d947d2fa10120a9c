package fresh

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/crypto/ssh"
)

// A keyKind is a kind of SSH host keys, with the length that ssh-keygen(1)
// gives them.
type keyKind struct {
	name string
	make func() (crypto.Signer, error)
}

func keyKinds() []keyKind {
	return []keyKind{
		{"rsa", func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) }},
		{"ecdsa", func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }},
		{"ed25519", func() (crypto.Signer, error) {
			_, key, err := ed25519.GenerateKey(rand.Reader)
			return key, err
		}},
	}
}

// renewHostKeys makes new host keys of the kinds that there are. sshd(8) makes
// none itself, and without any it takes no connection. DSA keys, which OpenSSH has
// given up, are removed.
func (s *system) renewHostKeys(dir *folder) {
	comment := "root@" + s.hostname()
	for _, k := range keyKinds() {
		if err := s.renewHostKey(dir, k, comment); err != nil {
			s.try(err)
		}
	}
	const dsa = "ssh_host_dsa_key"
	for _, name := range []string{dsa, dsa + ".pub"} {
		if _, err := dir.regular(name); err == nil {
			s.drop(dir, name)
		}
	}
}

// renewHostKey makes a new key in the place of one that is there. The private
// part comes first: sshd goes by it if a power cut leaves the other one old.
func (s *system) renewHostKey(dir *folder, k keyKind, comment string) error {
	name := "ssh_host_" + k.name + "_key"
	if _, err := dir.regular(name); err != nil {
		return err
	}
	key, err := k.make()
	if err != nil {
		return err
	}
	private, public, err := encodeKey(key, comment)
	if err != nil {
		return err
	}
	s.put(dir, name, private, 0o600)
	s.put(dir, name+".pub", public, 0o644)
	if _, err := dir.stat(name + "-cert.pub"); err == nil {
		s.run.note(s.name, "%s/%s-cert.pub certifies the key of the image and not the new one", dir.path, name)
	}
	return nil
}

// encodeKey returns a key as ssh-keygen(1) writes it.
func encodeKey(key crypto.Signer, comment string) (private, public []byte, err error) {
	block, err := ssh.MarshalPrivateKey(key, comment)
	if err != nil {
		return nil, nil, err
	}
	pub, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	line := bytes.TrimSuffix(ssh.MarshalAuthorizedKey(pub), []byte("\n"))
	return pem.EncodeToMemory(block), append(line, " "+comment+"\n"...), nil
}

// hostname returns the name that the system has now, localhost without one.
func (s *system) hostname() string {
	if s.run.opt.Hostname != "" {
		return s.run.opt.Hostname
	}
	name := "localhost"
	s.within("etc", func(etc *folder) {
		text, err := etc.read("hostname")
		if t := strings.TrimSpace(string(text)); isHostname(t) {
			name = t
		}
		if !errors.As(err, new(*leftError)) && !errors.Is(err, fs.ErrNotExist) {
			s.try(err)
		}
	})
	return name
}
