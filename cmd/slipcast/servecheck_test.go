package main

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"slipcast/pxe"
)

// Each kind of DHCP server is told its lines, for people so that they can be
// copied, and for programs.
func TestServeCheckSite(t *testing.T) {
	var stdout bytes.Buffer
	boot := &pxe.Server{Address: netip.MustParsePrefix("10.83.0.1/24"), Mode: pxe.Off}
	s := &server{env: &env{stdout: &stdout}, boot: boot}
	s.showSite()
	for _, want := range []string{
		"what dnsmasq must be told (/etc/dnsmasq.d/slipcast.conf):\n\ndhcp-userclass=set:ipxe,iPXE\n",
		"\ndhcp-boot=tag:!ipxe,tag:bios,bios/undionly.kpxe,10.83.0.1,10.83.0.1\n",
		"\nwhat Windows must be told (PowerShell on the DHCP server):\n",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("printed is\n%s\nwant %q in it", &stdout, want)
		}
	}
	stdout.Reset()
	s.env.json = true
	s.showSite()
	var kinds []string
	for line := range strings.Lines(stdout.String()) {
		kind, err := checkObject(line)
		if err != nil {
			t.Error(err)
		}
		kinds = append(kinds, kind)
	}
	if want := slices.Repeat([]string{"dhcp_server"}, len(boot.SiteConfigs())); !slices.Equal(kinds, want) {
		t.Errorf("objects %q, want %q", kinds, want)
	}
}
