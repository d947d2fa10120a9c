package trust

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// maxTicket is how long a ticket may be, in bytes.
const maxTicket = 16 << 10

// A Nonce makes a ticket the answer to one request. The zero value is none.
type Nonce [32]byte

// NewNonce returns random bytes that nobody has seen before.
func NewNonce() Nonce {
	var n Nonce
	rand.Read(n[:]) // never fails: crypto/rand
	return n
}

// String returns n in hexadecimal.
func (n Nonce) String() string { return hex.EncodeToString(n[:]) }

// ParseNonce reads what String returns.
func ParseNonce(text string) (Nonce, error) {
	if !digestForm.MatchString(text) {
		return Nonce{}, errors.New("want 64 hexadecimal digits")
	}
	p, err := hex.DecodeString(text)
	if err != nil {
		return Nonce{}, err
	}
	return Nonce(p), nil
}

// Claims are what a server tells a machine in a ticket.
type Claims struct {
	Nonce    Nonce
	Machine  string    // as the server calls it, at most 255 bytes
	Time     time.Time // now, in whole seconds
	Versions Versions  // of the server's catalog
	Job      string    // at most 255 bytes
	Image    string    // digest of the image to restore, or empty
	Plan     string    // digest of the plan to apply, or empty
}

// A ticket is Claims as they are signed. Keys are ordered as in canonical JSON.
type ticket struct {
	Type      string `json:"_type"`
	Image     string `json:"image"`
	Job       string `json:"job"`
	Machine   string `json:"machine"`
	Nonce     string `json:"nonce"`
	Plan      string `json:"plan"`
	Root      int64  `json:"root"`
	Schema    int    `json:"schema"`
	Snapshot  int64  `json:"snapshot"`
	Targets   int64  `json:"targets"`
	Time      string `json:"time"`
	Timestamp int64  `json:"timestamp"`
}

// A signedTicket is a ticket as it is sent.
type signedTicket struct {
	Signatures []ticketSignature `json:"signatures"`
	Signed     ticket            `json:"signed"`
}

type ticketSignature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"` // hexadecimal, in small letters
}

// What a ticket says that it is.
const (
	ticketType   = "slipcast-ticket"
	ticketSchema = 1
	ticketTime   = "2006-01-02T15:04:05Z"
	maxText      = 255 // bytes of a machine or a job
)

// SignTicket returns the ticket with these claims: section 7.4.
func SignTicket(c Claims, keys ...*SecretKey) ([]byte, error) {
	t := ticket{
		Type: ticketType, Schema: ticketSchema, Nonce: c.Nonce.String(), Machine: c.Machine, Time: c.Time.UTC().Format(ticketTime),
		Root: c.Versions.Root, Timestamp: c.Versions.Timestamp, Snapshot: c.Versions.Snapshot, Targets: c.Versions.Targets,
		Job: c.Job, Image: c.Image, Plan: c.Plan,
	}
	if _, err := t.claims(); err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	payload, err := cjson.EncodeCanonical(t)
	if err != nil {
		return nil, err
	}
	s := signedTicket{Signed: t}
	for _, k := range keys {
		sig, err := k.sign(payload)
		if err != nil {
			return nil, err
		}
		s.Signatures = append(s.Signatures, ticketSignature{k.public.ID(), hex.EncodeToString(sig)})
	}
	return json.Marshal(s)
}

// VerifyTicket reads a ticket, makes sure that the keys of the role timestamp have
// signed it, and that it answers nonce for machine. Its time and its versions are
// what a catalog is to be held against, as [Load] does. An error wraps
// [ErrMalformed], [ErrSignature] or [ErrTicket].
func (r *Root) VerifyTicket(p []byte, nonce Nonce, machine string) (*Claims, error) {
	s, err := decodeTicket(p)
	if err != nil {
		return nil, err
	}
	if err := r.verifyTicket(s); err != nil {
		return nil, err
	}
	c, err := s.Signed.claims()
	if err != nil {
		return nil, err
	}
	switch {
	case nonce == Nonce{} || c.Nonce != nonce:
		return nil, fmt.Errorf("%w: it answers another request", ErrTicket)
	case c.Machine != machine:
		return nil, fmt.Errorf("%w: it is for the machine %q, not for %q", ErrTicket, c.Machine, machine)
	}
	return c, nil
}

// decodeTicket reads a ticket, which must be written as SignTicket does.
func decodeTicket(p []byte) (*signedTicket, error) {
	if len(p) > maxTicket {
		return nil, malformed("more than %d bytes", maxTicket)
	}
	var s signedTicket
	if err := json.Unmarshal(p, &s); err != nil {
		return nil, malformed("%v", err)
	}
	again, err := json.Marshal(s)
	if err != nil || !bytes.Equal(again, p) { // an unknown key, a key twice, blanks
		return nil, malformed("it is not written as it must be")
	}
	return &s, nil
}

// verifyTicket makes sure that enough keys of the role timestamp have signed s.
func (r *Root) verifyTicket(s *signedTicket) error {
	payload, err := cjson.EncodeCanonical(s.Signed)
	if err != nil {
		return malformed("%v", err)
	}
	keys := r.keys(metadata.TIMESTAMP)
	good := map[string]bool{}
	for _, sig := range s.Signatures {
		key, ok := keys[sig.KeyID]
		raw, err := hex.DecodeString(sig.Sig)
		if err != nil || hex.EncodeToString(raw) != sig.Sig {
			return malformed("the signature %.20q", sig.Sig)
		}
		if ok && ed25519.Verify(key, payload, raw) {
			good[sig.KeyID] = true
		}
	}
	if want := r.threshold(metadata.TIMESTAMP); len(good) < want {
		return fmt.Errorf("%w: %d of %d needed", ErrSignature, len(good), want)
	}
	return nil
}

// claims checks what a ticket says.
func (t *ticket) claims() (*Claims, error) {
	if t.Type != ticketType || t.Schema != ticketSchema {
		return nil, malformed("%.40q, schema %d: want %s, schema %d", t.Type, t.Schema, ticketType, ticketSchema)
	}
	nonce, err := ParseNonce(t.Nonce)
	if err != nil {
		return nil, malformed("nonce: %v", err)
	}
	when, err := time.Parse(ticketTime, t.Time)
	if err != nil {
		return nil, malformed("time %.40q", t.Time)
	}
	if len(t.Machine) > maxText || len(t.Job) > maxText {
		return nil, malformed("machine or job of more than %d bytes", maxText)
	}
	for _, d := range []string{t.Image, t.Plan} {
		if d != "" && !digestForm.MatchString(d) {
			return nil, malformed("%.100q is no digest", d)
		}
	}
	for _, v := range []int64{t.Root, t.Timestamp, t.Snapshot, t.Targets} {
		if v < 1 || v > maxVersion {
			return nil, malformed("version %d, want 1 to %d", v, maxVersion)
		}
	}
	return &Claims{
		Nonce: nonce, Machine: t.Machine, Time: when, Versions: Versions{t.Root, t.Timestamp, t.Snapshot, t.Targets},
		Job: t.Job, Image: t.Image, Plan: t.Plan,
	}, nil
}
