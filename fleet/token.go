package fleet

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipcast/agent/wire"
)

// TokenFile is the name of the file with the operator's token in the state
// folder.
const TokenFile = "token"

// MirrorTokenFile is the name of the file with the token of mirrors there.
const MirrorTokenFile = "mirror-token"

// OperatorToken returns the operator's token from the state folder dir, and
// makes one if there is none. Only the owner of the file can read it.
func OperatorToken(dir string) (string, error) { return token(dir, TokenFile) }

// MirrorToken returns the token with which other servers may read what is
// released, and nothing else, likewise.
func MirrorToken(dir string) (string, error) { return token(dir, MirrorTokenFile) }

// Bearer lets requests through to h that carry the token; others are answered
// with 401.
func Bearer(token string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "the token is missing or wrong"})
			return
		}
		h.ServeHTTP(w, r)
	})
}

// token returns the token in a file of the state folder.
func token(dir, name string) (string, error) {
	path := filepath.Join(dir, name)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeToken(dir, path)
	}
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if len(token) < 16 || len(token) > 128 || token != wire.Plain(token, 128) {
		return "", fmt.Errorf("%s: a token has 16 to 128 printable characters on one line", path)
	}
	return token, nil
}

// makeToken writes a new token beside its place and links it there, so that of
// two processes one wins and both use its token.
func makeToken(dir, path string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(dir, TokenFile+".*.partial") // mode 0600
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	_, err = fmt.Fprintln(file, newID(16))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", err
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return token(dir, filepath.Base(path))
}

const (
	cookieName = "slipcast"
	cookieLife = 12 * time.Hour

	// maxFailures is how many wrong tokens an address may send in a
	// failureSpan, before it is not listened to for the rest of it.
	maxFailures  = 10
	failureSpan  = time.Minute
	maxAddresses = 4096
)

// A right is what somebody may do.
type right int

const (
	nothing right = iota
	reads
	writes
)

// A doorkeeper knows who may do what. It keeps no list of who has signed in: a
// cookie is its time of expiry under a key made of the token.
type doorkeeper struct {
	token, readToken string // readToken is empty where everybody may read

	mu       sync.Mutex
	failures map[netip.Addr]failure
}

// A failure is how often an address sent wrong tokens since a time.
type failure struct {
	count int
	since time.Time
}

// errTired reports an address that has sent too many wrong tokens.
var errTired = errors.New("too many wrong tokens from this address; try again in a minute")

// right returns what the sender of a request may do. The error wraps
// [ErrToken] if it sent a token that is wrong.
func (d *doorkeeper) right(r *http.Request) (right, error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return d.check(r, token)
	}
	if c, err := r.Cookie(cookieName); err == nil {
		if got := d.cookieRight(c.Value); got > d.open() {
			return got, nil
		}
	}
	return d.open(), nil
}

// open returns what everybody may do.
func (d *doorkeeper) open() right {
	if d.readToken == "" {
		return reads
	}
	return nothing
}

// check returns what a token is good for. It takes the same time for all that
// are wrong, and none is looked at from an address that has sent too many.
func (d *doorkeeper) check(r *http.Request, token string) (right, error) {
	addr := remote(r)
	if d.tired(addr) {
		return nothing, errTired
	}
	switch {
	case same(token, d.token):
		return writes, nil
	case d.readToken != "" && same(token, d.readToken):
		return reads, nil
	}
	d.failed(addr)
	return nothing, ErrToken
}

// same compares tokens in a time that does not depend on them.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1 && b != ""
}

func (d *doorkeeper) tired(addr netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.failures[addr]
	return f.count >= maxFailures && time.Since(f.since) < failureSpan
}

// failed counts a wrong token. The list of addresses is bounded: when it is
// full, old ones are forgotten, and then any.
func (d *doorkeeper) failed(addr netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failures == nil {
		d.failures = map[netip.Addr]failure{}
	}
	for known, f := range d.failures {
		if len(d.failures) >= maxAddresses || time.Since(f.since) >= failureSpan {
			delete(d.failures, known)
		}
	}
	f := d.failures[addr]
	if f.count == 0 {
		f.since = time.Now()
	}
	f.count++
	d.failures[addr] = f
}

// remote returns the address that a request comes from; of IPv6 the network,
// since one machine has 2^64 addresses.
func remote(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		prefix, err := addr.Prefix(64)
		if err != nil {
			return netip.Addr{}
		}
		return prefix.Addr()
	}
	return addr
}

// cookie returns the cookie for somebody who may do what.
func (d *doorkeeper) cookie(r *http.Request, what right) *http.Cookie {
	end := time.Now().Add(cookieLife)
	token := d.token
	if what == reads {
		token = d.readToken
	}
	return &http.Cookie{
		Name: cookieName, Value: seal(token, end.Unix()), Path: "/", Expires: end,
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
}

// cookieRight returns what a cookie is good for.
func (d *doorkeeper) cookieRight(value string) right {
	text, _, _ := strings.Cut(value, ".")
	end, err := strconv.ParseInt(text, 10, 64)
	if err != nil || time.Now().Unix() >= end {
		return nothing
	}
	switch {
	case d.token != "" && same(value, seal(d.token, end)):
		return writes
	case d.readToken != "" && same(value, seal(d.readToken, end)):
		return reads
	}
	return nothing
}

// seal returns a time under a key made of a token.
func seal(token string, end int64) string {
	key := sha256.Sum256([]byte("slipcast cookie\x00" + token))
	mac := hmac.New(sha256.New, key[:])
	fmt.Fprint(mac, end)
	return fmt.Sprintf("%d.%s", end, hex.EncodeToString(mac.Sum(nil)))
}
