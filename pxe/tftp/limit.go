package tftp

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// What an address may cost us that never acknowledges anything: it is perhaps
// somebody else's, which is to be flooded by our answers.
const (
	buckets   = 4096
	fullPurse = 64                     // answers at once: GRUB asks for some twenty files that are not there
	coinEvery = 100 * time.Millisecond // and then one each
)

// A limiter says whether an address may be answered. Addresses share a fixed
// number of purses, by chance: its memory does not grow with their number. It
// is for one goroutine at a time.
type limiter struct {
	seed   maphash.Seed
	purses [buckets]purse
}

// A purse has spent so much of its coins.
type purse struct {
	spent int
	since time.Time // from when on coins have been earned
}

func newLimiter() *limiter { return &limiter{seed: maphash.MakeSeed()} }

// at returns the purse of an address, with what it has earned until now.
func (l *limiter) at(addr netip.Addr, now time.Time) *purse {
	p := &l.purses[maphash.Comparable(l.seed, addr)%buckets]
	earned := now.Sub(p.since) / coinEvery
	if earned >= time.Duration(p.spent) {
		*p = purse{since: now}
		return p
	}
	p.spent -= int(earned)
	p.since = p.since.Add(earned * coinEvery)
	return p
}

// take takes a coin for an answer to addr, and returns false if there is none.
func (l *limiter) take(addr netip.Addr, now time.Time) bool {
	p := l.at(addr, now)
	if p.spent >= fullPurse {
		return false
	}
	p.spent++
	return true
}

// back gives one back: the client has shown that it is there.
func (l *limiter) back(addr netip.Addr, now time.Time) {
	if p := l.at(addr, now); p.spent > 0 {
		p.spent--
	}
}
