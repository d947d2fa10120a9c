package pxe

import (
	"encoding/hex"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// update rewrites the answers in testdata/golden.
var update = flag.Bool("update", false, "rewrite the answers in testdata/golden")

// TestGolden answers what real firmware sent, byte for byte. The requests were
// captured in QEMU 7.2: the network card's own iPXE on SeaBIOS, OVMF 2022.11,
// and snponly.efi of Debian 13.
func TestGolden(t *testing.T) {
	names, err := filepath.Glob("testdata/golden/*.request")
	if err != nil || len(names) != 3 {
		t.Fatalf("%d requests, %v, want 3", len(names), err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			q, err := parseRequest(readHex(t, name))
			if err != nil {
				t.Fatal(err)
			}
			d := &fixedDirector{decision: Decision{Verdict: Agent}}
			r := &responder{s: newTestServer(t, d)}
			got := r.onServerPort(t.Context(), &q, netip.AddrPort{})
			if got == nil {
				t.Fatal("no answer, want one")
			}
			if c := d.asked[0]; c.MAC.String() != testMAC || c.UUID != testUUID {
				t.Errorf("the director is asked for %+v, want %s, %s", c, testMAC, testUUID)
			}
			file := strings.TrimSuffix(name, ".request") + ".answer"
			if *update {
				writeHex(t, file, got.m.ToBytes())
			}
			if want := readHex(t, file); !slices.Equal(got.m.ToBytes(), want) {
				t.Errorf("answer\n%x, want\n%x", got.m.ToBytes(), want)
			}
		})
	}
}

// readHex reads bytes that are written in hexadecimal, on any number of lines.
func readHex(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := hex.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// writeHex writes bytes in lines of 32.
func writeHex(t *testing.T, name string, p []byte) {
	t.Helper()
	var text strings.Builder
	for line := range slices.Chunk(p, 32) {
		text.WriteString(hex.EncodeToString(line) + "\n")
	}
	if err := os.WriteFile(name, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
