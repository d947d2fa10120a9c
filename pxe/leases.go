package pxe

import (
	"context"
	"hash/fnv"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// offerLife is how long an address is held for who was offered it.
	offerLife = 30 * time.Second

	// takenLife is how long an address is left alone that somebody else has.
	takenLife = 10 * time.Minute

	// maxProbes is how many addresses are tried for one request.
	maxProbes = 8
)

// A grade is what an address is used for.
type grade int

const (
	probing grade = iota // somebody else may have it
	offered
	bound
	foreign // somebody else has it
)

// A holding is what is known of one address of the pool.
type holding struct {
	grade grade
	mac   string // of the machine, empty if it is foreign
	until time.Time
}

// leases are the addresses of a pool and who has them. They are told apart by
// MAC address alone, so that a machine keeps its address from firmware to
// system. There is one holding for an address at most, and one address for a
// machine. Safe for concurrent use.
type leases struct {
	pool  Pool
	never map[netip.Addr]bool // addresses that are not given
	life  time.Duration
	taken func(context.Context, netip.Addr) (bool, error) // whether an address is in use
	save  func(map[netip.Addr]holding) error

	mu     sync.Mutex
	byAddr map[netip.Addr]holding
	byMAC  map[string]netip.Addr
}

// offer returns an address for a machine: the one that it has or had, else
// the one that it wishes, else one that its MAC address leads to. Not ok is
// none, or that another request of this machine is being worked on.
func (l *leases) offer(ctx context.Context, mac net.HardwareAddr, wish netip.Addr) (a netip.Addr, ok bool) {
	for range maxProbes {
		a, ready, ok := l.reserve(string(mac), wish)
		if !ok || ready {
			return a, ok
		}
		taken, err := l.taken(ctx, a)
		if ctx.Err() != nil {
			return netip.Addr{}, false
		}
		// An error of the probe is one of the network, which then says nothing
		// against the address either; so it is offered.
		if l.probed(string(mac), a, taken && err == nil) {
			return a, true
		}
		wish = netip.Addr{}
	}
	return netip.Addr{}, false
}

// reserve finds an address. ready tells that it needs no probe, since the
// machine has it already.
func (l *leases) reserve(mac string, wish netip.Addr) (a netip.Addr, ready, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if a, has := l.byMAC[mac]; has {
		h := l.byAddr[a]
		switch {
		case now.After(h.until): // its own of old; others may have taken it
		case h.grade == probing:
			return a, false, false
		default:
			if h.grade == offered {
				l.hold(a, holding{offered, mac, now.Add(offerLife)})
			}
			return a, true, true
		}
		wish = a
	}
	a, ok = l.choose(mac, wish, now)
	if ok {
		l.hold(a, holding{probing, mac, now.Add(offerLife)})
	}
	return a, false, ok
}

// choose returns an address for a machine: one that nobody ever had, or if
// there is none, one that nobody has now.
func (l *leases) choose(mac string, wish netip.Addr, now time.Time) (netip.Addr, bool) {
	if l.pool.contains(wish) && !l.never[wish] {
		if h, has := l.byAddr[wish]; !has || h.mac == mac && h.grade != foreign || now.After(h.until) {
			return wish, true
		}
	}
	f := fnv.New32a()
	f.Write([]byte(mac))
	first, size := f.Sum32(), l.pool.size()
	var old netip.Addr
	for i := range size {
		a := l.pool.at((first%size + i) % size)
		h, has := l.byAddr[a]
		switch {
		case l.never[a]:
		case !has:
			return a, true
		case !old.IsValid() && now.After(h.until):
			old = a
		}
	}
	return old, old.IsValid()
}

// hold notes what an address is used for. l.mu is held.
func (l *leases) hold(a netip.Addr, h holding) {
	if before, has := l.byAddr[a]; has && before.mac != h.mac && l.byMAC[before.mac] == a {
		delete(l.byMAC, before.mac)
	}
	if h.mac != "" {
		if before, has := l.byMAC[h.mac]; has && before != a {
			delete(l.byAddr, before)
		}
		l.byMAC[h.mac] = a
	}
	l.byAddr[a] = h
}

// probed notes what a probe found, and returns whether the address may be
// offered.
func (l *leases) probed(mac string, a netip.Addr, taken bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.byAddr[a]; h.mac != mac || h.grade != probing {
		return false // another one has it meanwhile
	}
	if taken {
		l.hold(a, holding{foreign, "", time.Now().Add(takenLife)})
		return false
	}
	l.hold(a, holding{offered, mac, time.Now().Add(offerLife)})
	return true
}

// An outcome is what becomes of a request for an address.
type outcome int

const (
	unknown outcome = iota // the machine never had an address from us
	granted
	refused // it has, but not this one, or not any more
)

// take gives a machine the address that it was offered or has. It is on disk
// when take returns granted.
func (l *leases) take(mac net.HardwareAddr, a netip.Addr) (outcome, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine, has := l.byMAC[string(mac)]
	if !has {
		return unknown, nil
	}
	h := l.byAddr[mine]
	if mine != a || h.grade == probing || h.grade == offered && time.Now().After(h.until) {
		return refused, nil
	}
	l.hold(a, holding{bound, string(mac), time.Now().Add(l.life)})
	return granted, l.save(l.byAddr)
}

// has returns whether a machine has an address, or was offered one.
func (l *leases) has(mac net.HardwareAddr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, has := l.byMAC[string(mac)]
	return has && !time.Now().After(l.byAddr[a].until)
}

// forget takes back an offer that was not wanted.
func (l *leases) forget(mac net.HardwareAddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, has := l.byMAC[string(mac)]; has && l.byAddr[a].grade != bound {
		delete(l.byAddr, a)
		delete(l.byMAC, string(mac))
	}
}

// release ends a lease; the machine gets the address again if it is free then.
func (l *leases) release(mac net.HardwareAddr, a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.byAddr[a]; h.mac == string(mac) && h.grade == bound {
		l.hold(a, holding{bound, string(mac), time.Now()})
	}
}

// decline notes that a machine found its address in use, and returns whether
// it was its own.
func (l *leases) decline(mac net.HardwareAddr, a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if mine, has := l.byMAC[string(mac)]; !has || mine != a {
		return false
	}
	l.hold(a, holding{foreign, "", time.Now().Add(takenLife)})
	return true
}
