package probe

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// A tree is files by their path, see [lab.Plant].
type tree map[string]string

// open opens the tree at dir as a root.
func open(t testing.TB, dir string) *root.Root {
	t.Helper()
	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// probesOf returns the facts of a root with these files, without a machine.
func probesOf(t testing.TB, files tree) *Probes {
	t.Helper()
	dir := t.TempDir()
	lab.Plant(t, dir, files)
	return New(open(t, dir), nil)
}

// An expectation is what a probe is to say. An empty fault is none.
type expectation struct {
	probe string // with its arguments between bars: "pkg|bash"
	want  any
	fault string // part of an error
}

// check asks probes.
func check(t *testing.T, p *Probes, tests []expectation) {
	t.Helper()
	for _, tt := range tests {
		words := strings.Split(tt.probe, "|")
		for range 2 { // the second answer is one that was kept
			got, err := p.Probe(t.Context(), words[0], words[1:]...)
			if tt.fault == "" {
				if got != tt.want || err != nil {
					t.Errorf("%s = %#v, %v, want %#v", tt.probe, got, err, tt.want)
				}
				continue
			}
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%s = %#v, %v, want the fault %q", tt.probe, got, err, tt.fault)
			}
		}
	}
}

// fixture reads a file of testdata.
func fixture(t testing.TB, name string) string {
	t.Helper()
	p, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}
