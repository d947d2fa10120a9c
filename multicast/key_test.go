package multicast

import (
	"bytes"
	"testing"
)

// An end takes the proof of the other end over this connection, and no other
// proof; without a key it takes none.
func TestCheckProof(t *testing.T) {
	key, other := keyOf("correct horse battery"), keyOf("wrong horse battery")
	here, there := bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	right := prove(key, proofOfReceiver, here)
	tests := []struct {
		name  string
		key   []byte
		proof []byte
		want  bool
	}{
		{"right", key, right, true},
		{"no key, no proof", nil, nil, true},
		{"none", key, nil, false},
		{"cut off", key, right[:16], false},
		{"longer", key, append(bytes.Clone(right), 0), false},
		{"of another key", key, prove(other, proofOfReceiver, here), false},
		{"of another connection", key, prove(key, proofOfReceiver, there), false},
		{"one's own sent back", key, prove(key, proofOfSender, here), false},
		{"one that nobody asked for", nil, right, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := checkProof(tt.key, proofOfReceiver, here, tt.proof); got != tt.want {
				t.Errorf("checkProof(%x) = %v, want %v", tt.proof, got, tt.want)
			}
		})
	}
}

func TestKeyOfNothing(t *testing.T) {
	if key := keyOf(""); key != nil {
		t.Errorf("the key of no text is %x, want none", key)
	}
}
