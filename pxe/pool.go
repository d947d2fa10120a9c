package pxe

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// maxPool is how many addresses a pool may have.
const maxPool = 4096

// A Pool is a range of IPv4 addresses to give to machines, both ends included.
type Pool struct {
	First, Last netip.Addr
}

// ParsePool reads a pool as people write it: 10.0.5.200-10.0.5.220, or
// 10.0.5.200-220. It has at most 4096 addresses.
func ParsePool(text string) (Pool, error) {
	first, last, ok := strings.Cut(text, "-")
	if !ok {
		return Pool{}, fmt.Errorf("pool %q: want FIRST-LAST", text)
	}
	if !strings.Contains(last, ".") {
		last = first[:strings.LastIndexByte(first, '.')+1] + last
	}
	var p Pool
	var err error
	if p.First, err = netip.ParseAddr(first); err != nil {
		return Pool{}, fmt.Errorf("pool %q: %w", text, err)
	}
	if p.Last, err = netip.ParseAddr(last); err != nil {
		return Pool{}, fmt.Errorf("pool %q: %w", text, err)
	}
	return p, p.valid()
}

func (p Pool) String() string { return p.First.String() + "-" + p.Last.String() }

// valid tells what is wrong with the pool.
func (p Pool) valid() error {
	if !p.First.Is4() || !p.Last.Is4() || p.Last.Less(p.First) {
		return fmt.Errorf("pool %v: want two IPv4 addresses, the lower one first", p)
	}
	if number(p.Last)-number(p.First) >= maxPool {
		return fmt.Errorf("pool %v: more than %d addresses", p, maxPool)
	}
	return nil
}

// within tells what is wrong with the pool on a network.
func (p Pool) within(network netip.Prefix) error {
	if err := p.valid(); err != nil {
		return err
	}
	if !network.Contains(p.First) || !network.Contains(p.Last) {
		return fmt.Errorf("pool %v is not in %v, the network of the interface", p, network.Masked())
	}
	return nil
}

func (p Pool) contains(a netip.Addr) bool {
	return a.Is4() && !a.Less(p.First) && !p.Last.Less(a)
}

func (p Pool) size() uint32 { return number(p.Last) - number(p.First) + 1 }

// at returns the address number i.
func (p Pool) at(i uint32) netip.Addr { return address(number(p.First) + i) }

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// broadcast returns the address of everybody on a network.
func broadcast(network netip.Prefix) netip.Addr {
	return address(number(network.Addr()) | (1<<(32-network.Bits()) - 1))
}
