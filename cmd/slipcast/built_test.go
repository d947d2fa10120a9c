package main

import (
	"bytes"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Where there is no server, a clock that is behind the program does not make a catalog
// young that had expired when it was built; and that freshness is not provable is said.
func TestBuiltAt(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	t.Setenv("SLIPCAST_STORE", at("store"))
	t.Setenv("SLIPCAST_ONLINE_KEY", at("online.key"))
	try := func(want int, words string, args ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := run(args, nil, &stdout, &stderr); got != want || !strings.Contains(stderr.String(), words) {
			t.Errorf("slipcast %s: exit code %d, want %d and %q\n%s", strings.Join(args, " "), got, want, words, &stderr)
		}
	}
	setBuilt := func(at time.Time) {
		t.Helper()
		before := built
		t.Cleanup(func() { built = before })
		built = strconv.FormatInt(at.Unix(), 10)
		if got := builtAt(); got.Unix() != at.Unix() {
			t.Errorf("built at %v, want %v", got, at)
		}
	}
	if got := builtAt(); got.After(time.Now()) {
		t.Errorf("built at %v", got)
	}
	try(0, "", "store", "init")
	try(0, "", "catalog", "init", "--keys", dir, "--no-passphrase")
	try(0, "exported", "store", "export", dir)
	root, catalog := filepath.Join(at("store"), "catalog/metadata/1.root.json"), at("store/catalog")
	show := []string{"catalog", "plan", "--image", "none", "--catalog", catalog, "--trust", root}
	take := []string{"store", "import", "--trust", root, at("slipcast-1-001.slx")}

	setBuilt(time.Now().Add(15 * 24 * time.Hour)) // timestamps are good for 14 days
	try(exitDamaged, "timestamp.json: expired", show...)
	t.Setenv("SLIPCAST_STORE", at("other"))
	try(0, "", "store", "init")
	try(exitDamaged, "timestamp.json: expired", take...)

	setBuilt(time.Now().Add(-time.Hour))
	try(exitFailed, "note: "+catalog+": whether there is a newer catalog, nobody here can know", show...)
	try(0, "nobody here can know", take...)
}
