package multicast

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
)

// minKey is how long a key must be, in bytes.
const minKey = 16

// proofSize is the length of the proof that an end knows the key, in bytes.
const proofSize = 32

// exporterLabel names the bytes of the TLS connection that a proof covers.
const exporterLabel = "EXPORTER-slipcast-key"

// The ends of a control channel, as their proofs name them.
const (
	proofOfReceiver = "receiver"
	proofOfSender   = "sender"
)

// keyOf returns what is computed with instead of the text of a key, N in the
// document, or nil if there is no key.
func keyOf(text string) []byte {
	if text == "" {
		return nil
	}
	key, err := hkdf.Key(sha256.New, []byte(text), nil, "slipcast key", 32)
	if err != nil {
		panic(err) // 32 bytes are never too many
	}
	return key
}

// prove returns the proof that an end knows the key over the connection with
// these exported bytes. Without a key, which is nil, it is empty.
func prove(key []byte, who string, exported []byte) []byte {
	if key == nil {
		return nil
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(who))
	mac.Write(exported)
	return mac.Sum(nil)
}

// checkProof reports whether the proof of the other end is what it must be, in
// a time that tells nothing about the right one.
func checkProof(key []byte, who string, exported, proof []byte) bool {
	return hmac.Equal(proof, prove(key, who, exported))
}
