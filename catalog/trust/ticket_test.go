package trust

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
)

func TestTicket(t *testing.T) {
	s := newShop(t, 1, 1)
	root := s.load().Root
	nonce := NewNonce()
	want := Claims{
		Nonce: nonce, Machine: "pc-1", Time: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC), Versions: Versions{1, 2, 3, 4},
		Job: "night", Image: testDigest("image"), Plan: testDigest("plan"),
	}
	p, err := SignTicket(want, s.online)
	if err != nil {
		t.Fatal(err)
	}
	got, err := root.VerifyTicket(p, nonce, "pc-1")
	if err != nil || *got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for name, tt := range map[string]struct {
		p       []byte
		nonce   Nonce
		machine string
		want    error
	}{
		"another nonce":        {p, NewNonce(), "pc-1", ErrTicket},
		"no nonce":             {p, Nonce{}, "pc-1", ErrTicket},
		"another machine":      {p, nonce, "pc-2", ErrTicket},
		"no machine":           {p, nonce, "", ErrTicket},
		"by a release key":     {mustTicket(t, want, s.release[0]), nonce, "pc-1", ErrSignature},
		"by a stranger":        {mustTicket(t, want, newKey(t)), nonce, "pc-1", ErrSignature},
		"by nobody":            {mustTicket(t, want), nonce, "pc-1", ErrSignature},
		"empty":                {nil, nonce, "pc-1", ErrMalformed},
		"with a key more":      {edit(p, `"_type"`, `"a":1,"_type"`), nonce, "pc-1", ErrMalformed},
		"with a key twice":     {edit(p, `"_type"`, `"_type":"x","_type"`), nonce, "pc-1", ErrMalformed},
		"with a key elsewhere": {edit(p, `"signed"`, `"a":1,"signed"`), nonce, "pc-1", ErrMalformed},
		"with a blank":         {edit(p, `"signed":`, `"signed": `), nonce, "pc-1", ErrMalformed},
		"with something after": {append(p[:len(p):len(p)], '\n'), nonce, "pc-1", ErrMalformed},
		"very long":            {append(p[:len(p):len(p)], strings.Repeat(" ", maxTicket)...), nonce, "pc-1", ErrMalformed},
		"with another job":     {edit(p, `"night"`, `"day"`), nonce, "pc-1", ErrSignature},
		"with another image":   {edit(p, want.Image, want.Plan), nonce, "pc-1", ErrSignature},
		"of no nonce":          {mustTicket(t, Claims{Machine: "pc-1", Time: want.Time, Versions: want.Versions}, s.online), Nonce{}, "pc-1", ErrTicket},
	} {
		if got, err := root.VerifyTicket(tt.p, tt.nonce, tt.machine); !errors.Is(err, tt.want) {
			t.Errorf("%s: %+v, %v; want %v", name, got, err, tt.want)
		}
	}
}

func mustTicket(t *testing.T, c Claims, keys ...*SecretKey) []byte {
	t.Helper()
	p, err := SignTicket(c, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// edit replaces the first old in p.
func edit(p []byte, old, replacement string) []byte {
	return []byte(strings.Replace(string(p), old, replacement, 1))
}

// Claims that no reader takes are not signed.
func TestSignTicketRefuses(t *testing.T) {
	key := newKey(t)
	good := Claims{Nonce: NewNonce(), Machine: "pc-1", Time: time.Now(), Versions: Versions{1, 1, 1, 1}}
	for name, change := range map[string]func(*Claims){
		"a long machine": func(c *Claims) { c.Machine = strings.Repeat("m", 256) },
		"a long job":     func(c *Claims) { c.Job = strings.Repeat("j", 256) },
		"an image":       func(c *Claims) { c.Image = "room@1" },
		"a plan":         func(c *Claims) { c.Plan = strings.ToUpper(testDigest("plan")) + "Z" },
		"version 0":      func(c *Claims) { c.Versions.Targets = 0 },
		"version 2^31":   func(c *Claims) { c.Versions.Root = 1 << 31 },
		"year 10000":     func(c *Claims) { c.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		c := good
		change(&c)
		if p, err := SignTicket(c, key); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %s, %v; want ErrMalformed", name, p, err)
		}
	}
}

// A ticket is good for a catalog of just its versions or higher ones, each of them.
func TestTicketVersions(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	now := s.load().Versions
	for name, change := range map[string]func(v *Versions){
		"root":      func(v *Versions) { v.Root++ },
		"timestamp": func(v *Versions) { v.Timestamp++ },
		"snapshot":  func(v *Versions) { v.Snapshot++ },
		"targets":   func(v *Versions) { v.Targets++ },
	} {
		opt := s.ask(s.online, func(c *Claims) { change(&c.Versions) })
		if _, err := s.loadDir(s.dir, opt); !errors.Is(err, ErrRollback) {
			t.Errorf("a ticket with a higher %s than %v: %v, want ErrRollback", name, now, err)
		}
	}
	opt := s.ask(s.online, nil)
	s.offer("room@2")
	if c, err := s.loadDir(s.dir, opt); err != nil || !c.Fresh {
		t.Errorf("a catalog that is newer than the ticket: %v", err)
	}
}

// The vector of docs/bundles.md, section 7.5.
func TestTicketVector(t *testing.T) {
	doc, err := os.ReadFile("../../docs/bundles.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(before string) []byte {
		m := regexp.MustCompile(regexp.QuoteMeta(before) + "[^`]*`([^`]+)`").FindSubmatch(doc)
		if m == nil {
			t.Fatalf("docs/bundles.md: no vector behind %q", before)
		}
		return m[1]
	}
	var mini minisign.PrivateKey
	if err := mini.UnmarshalText(block("The secret key of the vectors is")); err != nil {
		t.Fatal(err)
	}
	key, err := newSecretKey(mini)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := key.Public().ID(), string(block("The Update Framework calls it")); got != want {
		t.Errorf("key id %s, want %s", got, want)
	}
	want := block("Its ticket is")
	claims := Claims{
		Nonce: Nonce([]byte(strings.Repeat("\x01", 32))), Machine: "pc-1", Time: time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC),
		Versions: Versions{2, 30, 20, 10}, Job: "7", Image: strings.Repeat("ab", 32),
	}
	if got := mustTicket(t, claims, key); string(got) != string(want) {
		t.Errorf("ticket\n%s\nwant\n%s", got, want)
	}
	var parts struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(want, &parts); err != nil {
		t.Fatal(err)
	}
	sig, err := key.sign(parts.Signed) // without characters that are escaped, written and canonical form are one
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(want), Nonce(sig[:32]).String()) {
		t.Error("what is signed is not the canonical JSON of signed")
	}
}
