package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
)

// exampleBundle makes the example of bundle init, as a file.
func exampleBundle(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := bundle.Init(dir, name); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := bundle.Build(t.Context(), dir, &out, bundle.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	path := dir + ".slb"
	if err := os.WriteFile(path, out.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// An author signs a bundle, and somebody else releases it, who takes none but that
// author's.
func TestReleaseByAuthor(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SLIPCAST_STORE", filepath.Join(dir, "store"))
	t.Setenv("SLIPCAST_ONLINE_KEY", filepath.Join(dir, "online.key"))
	try := func(want int, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if got := run(args, nil, &stdout, &stderr); got != want {
			t.Fatalf("slipcast %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, want, &stderr)
		}
		return stdout.String() + stderr.String()
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	try(0, "store", "init")
	try(0, "catalog", "init", "--keys", dir, "--no-passphrase")
	try(0, "catalog", "key", "new", "--no-passphrase", at("ann"))
	try(0, "catalog", "key", "new", "--no-passphrase", at("bob"))
	path := exampleBundle(t, "greeting")

	release := []string{"catalog", "release", path, "--key", at("release.key"), "--author", at("ann.pub")}
	if text := try(exitDamaged, release...); !strings.Contains(text, "there is no "+path+".minisig") {
		t.Errorf("without a signature: %s", text)
	}
	try(0, "catalog", "sign", path, "--key", at("bob.key"))
	if text := try(exitDamaged, release...); !strings.Contains(text, "not signed by any of these authors") {
		t.Errorf("with another author's signature: %s", text)
	}
	try(0, "catalog", "sign", path, "--key", at("ann.key"))
	try(0, release...)
	if text := try(0, "catalog", "list"); !strings.Contains(text, "bundle  greeting@1.0.0-1  low") {
		t.Errorf("the list is\n%s", text)
	}
	for line := range strings.Lines(try(0, "catalog", "list", "--json")) {
		if kind, err := checkObject(line); err != nil || kind != "released_bundle" {
			t.Errorf("%s: %v: %s", kind, err, line)
		}
	}
	text := try(exitDamaged, "catalog", "release", at("ann.key"), "--key", at("release.key"))
	if !strings.Contains(text, "ann.key: not a bundle") {
		t.Errorf("a file that is no bundle: %s", text)
	}
}

// A passphrase is asked for on the terminal, a new one twice, and not shown.
func TestPassphraseOnTerminal(t *testing.T) {
	dir := t.TempDir()
	x := startOnTerminal(t, dir, nil, nil, "catalog", "key", "new", "ann")
	x.waitFor("New passphrase for ann.key: ")
	x.send("correct horse\n")
	x.waitFor("The same once more: ")
	x.send("correct house\n")
	x.want(exitFailed, "slipcast: making a key: the two passphrases differ")
	if strings.Contains(x.screen.String(), "horse") {
		t.Errorf("the terminal shows it:\n%s", &x.screen)
	}
	x = startOnTerminal(t, dir, nil, nil, "catalog", "key", "new", "ann")
	x.waitFor("New passphrase for ann.key: ")
	x.send("\x03")
	x.want(exitInterrupted, "slipcast: making a key: interrupted")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
