package pxe

import (
	"bytes"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxBoots is how many machines are remembered that were sent a script.
	maxBoots = 4096

	// scriptLife is how long after its script a machine may fetch its archive.
	scriptLife = 15 * time.Minute

	// stale is how long an archive is the same one for whoever asks again.
	stale = time.Minute
)

// boots are the machines that were sent into the boot environment lately. The
// zero value has none. Safe for concurrent use.
type boots struct {
	mu    sync.Mutex
	byMAC map[string]*boot
}

// A boot is one of them.
type boot struct {
	client Client    // that the last script went to
	at     time.Time // when

	done atomic.Bool // all of the archive was sent

	mu   sync.Mutex // held while the archive is made
	data []byte
	made time.Time
}

// scripted notes that a script went to a machine. An archive that it has
// fetched whole was for an earlier boot; one that it may not have got whole is
// kept, as this is then another try.
func (b *boots) scripted(c Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.byMAC == nil {
		b.byMAC = make(map[string]*boot)
	}
	if old := b.byMAC[string(c.MAC)]; old != nil && old.client.same(c) && !old.done.Load() {
		old.at = now
		return
	}
	b.sweep(now)
	b.byMAC[string(c.MAC)] = &boot{client: c, at: now}
}

// sweep makes room for one more: at the cost of the address that has asked for
// the most, since one that asks for many machines is none. b.mu is held.
func (b *boots) sweep(now time.Time) {
	if len(b.byMAC) < maxBoots {
		return
	}
	from := make(map[netip.Addr]int)
	var most netip.Addr
	for mac, x := range b.byMAC {
		if now.Sub(x.at) > scriptLife {
			delete(b.byMAC, mac)
			continue
		}
		if from[x.client.Address]++; from[x.client.Address] > from[most] {
			most = x.client.Address
		}
	}
	if len(b.byMAC) >= maxBoots {
		b.dropOldest(func(a netip.Addr) bool { return from[a] == from[most] })
	}
}

// dropOldest forgets the oldest of those at some addresses. b.mu is held.
func (b *boots) dropOldest(at func(netip.Addr) bool) {
	oldest := ""
	for mac, x := range b.byMAC {
		if at(x.client.Address) && (oldest == "" || x.at.Before(b.byMAC[oldest].at)) {
			oldest = mac
		}
	}
	delete(b.byMAC, oldest)
}

// find returns the boot of a machine that asks for its archive; nil if no
// script went to it, at this address, lately.
func (b *boots) find(c Client) *boot {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.byMAC[string(c.MAC)]
	if x == nil || !x.client.same(c) || time.Since(x.at) > scriptLife {
		return nil
	}
	return x
}

// same returns whether two requests come from the same machine and address,
// as far as they tell.
func (c Client) same(other Client) bool {
	return bytes.Equal(c.MAC, other.MAC) && c.UUID == other.UUID && c.Address == other.Address
}

// archive returns the archive and when it was made: the one of the last
// minute, or a new one of offer.
func (x *boot) archive(offer func(Client) ([]byte, error)) (data []byte, made time.Time, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.data != nil && time.Since(x.made) < stale {
		return x.data, x.made, nil
	}
	data, err = offer(x.client)
	if err != nil {
		return nil, time.Time{}, err
	}
	x.data, x.made = data, time.Now()
	x.done.Store(false)
	return x.data, x.made, nil
}
