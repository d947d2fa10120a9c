package multicast

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// newTestIdentity is newIdentity for tests.
func newTestIdentity(t testing.TB) (tls.Certificate, []byte) {
	t.Helper()
	cert, fingerprint, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return cert, fingerprint[:]
}

// shakeHands makes a TLS connection over two ends of a wire. The connections
// are nil if it fails; the error is that of the receiver.
func shakeHands(t testing.TB, cert tls.Certificate, client *tls.Config, near, far net.Conn) (sender, receiver *tls.Conn, err error) {
	t.Helper()
	sender, receiver = tls.Server(far, serverTLS(cert)), tls.Client(near, client)
	done := make(chan error, 1)
	go func() { done <- sender.Handshake() }()
	err = receiver.Handshake()
	if err != nil {
		near.Close()
	}
	if senderErr := <-done; err != nil || senderErr != nil {
		far.Close()
		return nil, nil, errors.Join(err, senderErr)
	}
	return sender, receiver, nil
}

// newTestControls returns both ends of a control channel over a pipe, which
// has no buffer: what one end does not read, the other cannot write.
func newTestControls(t testing.TB) (sender, receiver *control) {
	t.Helper()
	cert, fingerprint := newTestIdentity(t)
	near, far := net.Pipe()
	s, r, err := shakeHands(t, cert, clientTLS(fingerprint, alpnControl), near, far)
	if err != nil {
		t.Fatal(err)
	}
	return newControl(s, fromReceiver), newControl(r, fromSender)
}

func TestClientTLS(t *testing.T) {
	cert, right := newTestIdentity(t)
	_, wrong := newTestIdentity(t)
	tests := []struct {
		name        string
		fingerprint []byte
		alpn        string
		refused     bool
	}{
		{"right fingerprint", right, alpnControl, false},
		{"right fingerprint for HTTPS", right, alpnHTTPS, false},
		{"no fingerprint", nil, alpnControl, false},
		{"wrong fingerprint", wrong, alpnControl, true},
		{"half a fingerprint", right[:16], alpnControl, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			near, far := net.Pipe()
			_, receiver, err := shakeHands(t, cert, clientTLS(tt.fingerprint, tt.alpn), near, far)
			if errors.Is(err, ErrRefused) != tt.refused || err != nil && !tt.refused {
				t.Fatalf("handshake: %v, want refused %v", err, tt.refused)
			}
			if err == nil && receiver.ConnectionState().NegotiatedProtocol != tt.alpn {
				t.Errorf("protocol %q, want %q", receiver.ConnectionState().NegotiatedProtocol, tt.alpn)
			}
		})
	}
}

// TestClientTLSForged shows a certificate that another key has signed.
func TestClientTLSForged(t *testing.T) {
	mine, _ := newTestIdentity(t)
	der := bytes.Clone(mine.Certificate[0])
	der[len(der)-1] ^= 1
	mine.Certificate = [][]byte{der}
	near, far := net.Pipe()
	if _, _, err := shakeHands(t, mine, clientTLS(nil, alpnControl), near, far); !errors.Is(err, ErrRefused) {
		t.Errorf("handshake with a certificate that its key has not signed: %v, want ErrRefused", err)
	}
}

// greet makes the exchange of HELLO and OFFER over two connections that may
// not be the same, and returns whether each end took the other's proof.
func greet(t *testing.T, sender, receiver *tls.Conn, senderKey, receiverKey []byte) (senderTook, receiverTook bool) {
	t.Helper()
	atSender, err := newControl(sender, fromReceiver).exporter()
	if err != nil {
		t.Fatal(err)
	}
	atReceiver, err := newControl(receiver, fromSender).exporter()
	if err != nil {
		t.Fatal(err)
	}
	senderTook = checkProof(senderKey, proofOfReceiver, atSender, prove(receiverKey, proofOfReceiver, atReceiver))
	receiverTook = checkProof(receiverKey, proofOfSender, atReceiver, prove(senderKey, proofOfSender, atSender))
	return senderTook, receiverTook
}

func TestProofOverTLS(t *testing.T) {
	key, other := keyOf("correct horse battery"), keyOf("incorrect horse battery")
	tests := []struct {
		name             string
		sender, receiver []byte
		want             bool
	}{
		{"no key", nil, nil, true},
		{"same key", key, key, true},
		{"another key", key, other, false},
		{"only the sender has one", key, nil, false},
		{"only the receiver has one", nil, key, false},
	}
	cert, fingerprint := newTestIdentity(t)
	near, far := net.Pipe()
	s, r, err := shakeHands(t, cert, clientTLS(fingerprint, alpnControl), near, far)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			senderTook, receiverTook := greet(t, s, r, tt.sender, tt.receiver)
			if senderTook != tt.want || receiverTook != tt.want {
				t.Errorf("sender took the proof: %v, receiver: %v, want %v", senderTook, receiverTook, tt.want)
			}
		})
	}
}

// TestProofInTheMiddle has someone in the middle, who has no fingerprint to
// fear and passes on what both ends say.
func TestProofInTheMiddle(t *testing.T) {
	key := keyOf("correct horse battery")
	cert, _ := newTestIdentity(t)
	forged, _ := newTestIdentity(t)
	near, far := net.Pipe()
	sender, _, err := shakeHands(t, cert, clientTLS(nil, alpnControl), near, far)
	if err != nil {
		t.Fatal(err)
	}
	near, far = net.Pipe()
	_, receiver, err := shakeHands(t, forged, clientTLS(nil, alpnControl), near, far)
	if err != nil {
		t.Fatal(err)
	}
	if senderTook, receiverTook := greet(t, sender, receiver, key, key); senderTook || receiverTook {
		t.Errorf("sender took a proof from another connection: %v, receiver: %v, want false", senderTook, receiverTook)
	}
	if senderTook, receiverTook := greet(t, sender, receiver, nil, nil); !senderTook || !receiverTook {
		t.Errorf("without a key, sender: %v, receiver: %v, want true: nothing shows who is in the middle", senderTook, receiverTook)
	}
}

// A countedConn counts what is written.
type countedConn struct {
	net.Conn
	written *atomic.Int64
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// TestHandshakeBytes holds what a receiver costs the sender's wire to its
// bound: 20 receivers at 1.5 kB are 30 kB.
func TestHandshakeBytes(t *testing.T) {
	cert, fingerprint := newTestIdentity(t)
	near, far := net.Pipe()
	var down, up atomic.Int64
	s, r, err := shakeHands(t, cert, clientTLS(fingerprint, alpnControl), countedConn{near, &up}, countedConn{far, &down})
	if err != nil {
		t.Fatal(err)
	}
	handshake := down.Load()
	go io.Copy(io.Discard, r)
	o := offer{session: 1, proof: make([]byte, proofSize), name: "room", host: "server", title: "Debian 12", digest: make([]byte, 32), symbolSize: 1440}
	p := appendMessage(nil, o)
	p = appendMessage(p, join{group: groupForTest})
	if _, err := s.Write(p); err != nil {
		t.Fatal(err)
	}
	t.Logf("handshake %d bytes down, %d up; with OFFER and JOIN %d down; certificate %d", handshake, up.Load(), down.Load(), len(cert.Certificate[0]))
	if down.Load() > 1500 {
		t.Errorf("%d bytes, want at most 1500", down.Load())
	}
	near.Close()
	far.Close()
}

// withTimeout is a context that ends in time for a test that hangs to tell why.
func withTimeout(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
