package multicast

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Sizes of what section 3 derives from a session's secret, in bytes.
const (
	secretSize = 32
	keySize    = 16
	saltSize   = 8
)

// errSeal reports a datagram that no member of the session has sent.
var errSeal = errors.New("wrong seal")

// A sealer seals and opens the datagrams of one lane and epoch. It is not safe
// for concurrent use.
type sealer struct {
	aead  cipher.AEAD
	nonce [saltSize + 4]byte // the salt, and room for the sequence
}

func newSealer(secret []byte, session uint64, lane, epoch uint8) *sealer {
	number := binary.LittleEndian.AppendUint64(nil, session)
	info := "slipcast data" + string([]byte{lane, epoch})
	okm, err := hkdf.Key(sha256.New, secret, number, info, keySize+saltSize)
	if err != nil {
		panic(err) // 24 bytes are never too many
	}
	block, err := aes.NewCipher(okm[:keySize])
	if err != nil {
		panic(err) // 16 bytes are a key
	}
	s := new(sealer)
	if s.aead, err = cipher.NewGCMWithTagSize(block, sealSize); err != nil {
		panic(err) // 12 bytes are a tag
	}
	copy(s.nonce[:], okm[keySize:])
	return s
}

// parts divides a datagram, and makes the nonce that its header asks for.
func (s *sealer) parts(datagram []byte) (head, body []byte) {
	copy(s.nonce[saltSize:], datagram[4:8])
	return datagram[:headerSize], datagram[headerSize:]
}

// seal seals a datagram in its place: header, payload, and room for the seal.
func (s *sealer) seal(datagram []byte) {
	head, body := s.parts(datagram)
	s.aead.Seal(body[:0], s.nonce[:], body[:len(body)-sealSize], head)
}

// open returns the payload of a datagram, decrypted in its place, which is
// overwritten in any case. Any error wraps errSeal.
func (s *sealer) open(datagram []byte) ([]byte, error) {
	if len(datagram) < headerSize+sealSize {
		return nil, errSeal
	}
	head, body := s.parts(datagram)
	payload, err := s.aead.Open(body[:0], s.nonce[:], body, head)
	if err != nil {
		return nil, errSeal
	}
	return payload, nil
}
