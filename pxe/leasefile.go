package pxe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// leaseFile is where leases are kept, in the state folder.
const leaseFile = "leases.json"

// maxLeaseFile is the number of bytes that it may have: 100 for each address
// of the largest pool.
const maxLeaseFile = 100 * maxPool

// savedLeases are what the file holds.
type savedLeases struct {
	Schema int          `json:"schema"` // 1
	Leases []savedLease `json:"leases"` // by address
}

type savedLease struct {
	Address netip.Addr `json:"address"`
	MAC     string     `json:"mac"`
	Until   time.Time  `json:"until"`
}

// openLeases reads the leases that were given before. What cannot be used is
// logged and left out: whoever has such an address answers the probe.
func (s *Server) openLeases() (*leases, error) {
	l := &leases{
		pool: s.Pool, life: fullLife,
		never:  map[netip.Addr]bool{s.addr(): true, s.Address.Masked().Addr(): true, broadcast(s.Address): true, s.Router: true},
		byAddr: make(map[netip.Addr]holding), byMAC: make(map[string]netip.Addr),
	}
	if s.mode() == Targeted {
		l.life = targetedLife
	}
	prober, err := newProber(s.Interface)
	if err != nil {
		return nil, err
	}
	l.taken = prober.taken
	name := filepath.Join(s.State, leaseFile)
	l.save = func(all map[netip.Addr]holding) error { return saveLeases(name, all) }
	saved, err := readLeases(name)
	if err != nil {
		s.log().Warn("leases are forgotten", "err", err)
	}
	l.restore(saved)
	return l, nil
}

// restore takes over what was saved.
func (l *leases) restore(saved []savedLease) {
	for _, x := range saved {
		mac, err := net.ParseMAC(x.MAC)
		if err != nil || !usable(mac) || !l.pool.contains(x.Address) || l.never[x.Address] {
			continue
		}
		l.hold(x.Address, holding{bound, string(mac), x.Until})
	}
}

// readLeases reads a file of leases. One that is not there has none.
func readLeases(name string) ([]savedLease, error) {
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxLeaseFile {
		return nil, fmt.Errorf("%s: %d bytes, want at most %d", name, info.Size(), maxLeaseFile)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var saved savedLeases
	if err := json.Unmarshal(text, &saved); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if saved.Schema != 1 {
		return nil, fmt.Errorf("%s: schema %d, want 1", name, saved.Schema)
	}
	return saved.Leases, nil
}

// saveLeases writes the leases beside their place, and puts them there when
// they are on disk.
func saveLeases(name string, all map[netip.Addr]holding) error {
	saved := savedLeases{Schema: 1}
	for a, h := range all {
		if h.grade == bound {
			saved.Leases = append(saved.Leases, savedLease{a, net.HardwareAddr(h.mac).String(), h.until.UTC()})
		}
	}
	slices.SortFunc(saved.Leases, func(a, b savedLease) int { return a.Address.Compare(b.Address) })
	text, err := json.MarshalIndent(saved, "", "\t")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(name+".partial", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(append(text, '\n')); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(name+".partial", name)
}
