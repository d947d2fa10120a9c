package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/image/store"
	"slipcast/pxe"
)

// logFinding tells in the log what stands in the way of booting machines.
func (s *server) logFinding(f pxe.Finding) {
	level := slog.LevelInfo
	if f.Severity != pxe.Note {
		level = slog.LevelWarn
	}
	attrs := []any{"about", f.Text}
	if f.Way != "" {
		attrs = append(attrs, "way_out", f.Way)
	}
	s.log.Log(context.Background(), level, "check", attrs...)
}

// check tells what is wrong before anything is started. What keeps machines
// from booting makes it fail.
func (s *server) check(ctx context.Context) error {
	found := s.boot.Check(ctx)
	found = append(found, s.checkHTTPS()...)
	found = append(found, s.checkStore()...)
	found = append(found, s.checkCatalog(ctx)...)
	found = append(found, s.checkMulticast()...)
	found = append(found, checkClock()...)
	fatal := 0
	for _, f := range found {
		if f.Severity == pxe.Fatal {
			fatal++
		}
		s.showFinding(f)
	}
	if s.boot.Mode == pxe.Off {
		s.showSite()
	}
	s.env.result(map[string]any{"type": "checked", "findings": len(found), "fatal": fatal}, false)
	switch {
	case fatal > 0:
		return fmt.Errorf("%s in the way", count(fatal, "thing"))
	case !s.env.json && !s.env.quiet:
		fmt.Fprintf(s.env.stdout, "machines at %s (%s) can be served\n", s.opt.iface, s.address)
	}
	return nil
}

// showFinding prints a finding.
func (s *server) showFinding(f pxe.Finding) {
	if s.env.json {
		s.env.object(s.env.stdout, map[string]any{"type": "finding", "severity": string(f.Severity), "about": f.Text, "way_out": f.Way})
		return
	}
	s.env.print(s.env.stdout, "%s: %s\n", f.Severity, f.Text)
	if f.Way != "" {
		s.env.print(s.env.stdout, "  way out: %s\n", strings.ReplaceAll(f.Way, "\n", "\n  "))
	}
}

// showSite prints what the DHCP server of the network must be told, since we
// answer no DHCP, for each kind of server that there may be.
func (s *server) showSite() {
	for _, c := range s.boot.SiteConfigs() {
		if s.env.json {
			s.env.object(s.env.stdout, map[string]any{"type": "dhcp_server", "server": c.Server, "file": c.File, "lines": c.Lines})
			continue
		}
		s.env.print(s.env.stdout, "\nwhat %s must be told (%s):\n\n%s\n", c.Server, c.File, c.Lines)
	}
}

// checkHTTPS tells if the port of agents and browsers is taken.
func (s *server) checkHTTPS() []pxe.Finding {
	l, err := s.listenHTTPS()
	if err != nil {
		return []pxe.Finding{{Severity: pxe.Fatal, Text: err.Error(), Way: "stop what listens there, or choose another port with --https"}}
	}
	l.Close()
	return nil
}

// checkClock tells if nobody sets the clock, adjtimex(2): a server that was off
// over night may wake with the time of last night, and begin the jobs of then.
func checkClock() []pxe.Finding {
	state, err := unix.Adjtimex(&unix.Timex{})
	if err != nil || state != unix.TIME_ERROR {
		return nil // a container may not ask
	}
	return []pxe.Finding{{
		Severity: pxe.Note, Text: "nothing sets the clock of this host: windows of jobs go by it",
		Way: "timedatectl set-ntp true, or see to it that the clock runs on while the host is off",
	}}
}

// checkStore looks for images.
func (s *server) checkStore() []pxe.Finding {
	st, err := store.Open(s.opt.store)
	switch {
	case errors.Is(err, store.ErrNotStore) && !exists(s.opt.store):
		return []pxe.Finding{{Severity: pxe.Note, Text: s.opt.store + " is not there; it will be made", Way: "slipcast store add IMAGE NAME"}}
	case err != nil:
		return []pxe.Finding{{Severity: pxe.Fatal, Text: err.Error(), Way: "name another folder with --store"}}
	}
	list, err := st.List()
	if err != nil {
		return []pxe.Finding{{Severity: pxe.Warning, Text: err.Error(), Way: "slipcast store verify"}}
	}
	if len(list) == 0 {
		return []pxe.Finding{{Severity: pxe.Note, Text: s.opt.store + " has no images", Way: "slipcast store add IMAGE NAME"}}
	}
	return nil
}

// checkCatalog tells if nothing can be restored, though all the rest is there.
func (s *server) checkCatalog(ctx context.Context) []pxe.Finding {
	c := &serveCatalog{dir: filepath.Join(s.opt.store, catalogFolder), online: s.opt.onlineFile(), log: s.log}
	var refused *notReleased
	_, err := c.current(ctx)
	if err == nil {
		if _, err = c.key(); err != nil {
			err = &notReleased{fmt.Sprintf("no job to restore can begin: %v", err), onlineWay}
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return []pxe.Finding{{Severity: pxe.Warning, Text: refused.text, Way: refused.way}}
	}
	return []pxe.Finding{{Severity: pxe.Warning, Text: err.Error(), Way: "slipcast store verify; a mirror of the store has the catalog, too"}}
}

// checkMulticast tells if sessions would not reach anybody from here. Without
// multicast every machine fetches its image by itself.
func (s *server) checkMulticast() []pxe.Finding {
	ifi, err := net.InterfaceByName(s.opt.iface)
	if err != nil {
		return nil // told already
	}
	if ifi.Flags&net.FlagMulticast == 0 {
		return []pxe.Finding{{
			Severity: pxe.Warning, Text: s.opt.iface + " carries no multicast: every machine fetches its image by itself",
			Way: "ip link set " + s.opt.iface + " multicast on",
		}}
	}
	if err := hearOneself(ifi, s.address.Addr()); err != nil {
		return []pxe.Finding{{
			Severity: pxe.Warning, Text: fmt.Sprintf("multicast does not pass %s on this host: %v", s.opt.iface, err),
			Way: "let UDP to 239.0.0.0/8 pass in this host's firewall",
		}}
	}
	if deaf := snoopingAlone("/sys/class/net", s.opt.iface); deaf != "" {
		return []pxe.Finding{{
			Severity: pxe.Note, Text: deaf + " snoops on IGMP and nobody asks for reports: machines may stop hearing multicast after some minutes",
			Way: "echo 1 > /sys/class/net/" + deaf + "/bridge/multicast_querier",
		}}
	}
	return nil
}

// hearOneself sends a datagram to a group and waits for it: a host hears its
// own multicast (ip(7), IP_MULTICAST_LOOP), if no firewall is in the way.
func hearOneself(ifi *net.Interface, from netip.Addr) error {
	l, err := net.ListenMulticastUDP("udp4", ifi, &net.UDPAddr{IP: net.IPv4(239, 255, 83, 76)})
	if err != nil {
		return err
	}
	defer l.Close()
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{239, 255, 83, 76}), l.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	conn, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		return err
	}
	defer conn.Close()
	probe := []byte("slipcast check")
	if _, err := conn.Write(probe); err != nil {
		return err
	}
	if err := l.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	for buf := make([]byte, 64); ; {
		n, err := l.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return errors.New("what is sent to a group does not come back")
		}
		if err != nil || string(buf[:n]) == string(probe) {
			return err
		}
	}
}

// snoopingAlone returns the bridge that iface is, or is a port of, if it snoops
// on IGMP without being a querier itself (bridge.rst, Multicast).
func snoopingAlone(sys, iface string) string {
	bridge := filepath.Join(sys, iface, "bridge")
	if !exists(bridge) {
		master, err := filepath.EvalSymlinks(filepath.Join(sys, iface, "master"))
		if err != nil {
			return ""
		}
		iface, bridge = filepath.Base(master), filepath.Join(master, "bridge")
	}
	is := func(file, want string) bool {
		text, err := os.ReadFile(filepath.Join(bridge, file))
		return err == nil && strings.TrimSpace(string(text)) == want
	}
	if is("multicast_snooping", "1") && is("multicast_querier", "0") {
		return iface
	}
	return ""
}

// defaultInterface returns the interface of the default route (proc(5),
// /proc/net/route).
func defaultInterface() (string, error) {
	f, err := os.Open("/proc/net/route")
	if err != nil {
		return "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) > 7 && words[1] == "00000000" && words[7] == "00000000" {
			return words[0], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", err
	}
	return "", usagef("there is no default route to tell which network to serve; name it with --interface")
}
