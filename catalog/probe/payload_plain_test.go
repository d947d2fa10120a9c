package probe

import (
	"os/exec"
	"path/filepath"
	"testing"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// TestHardlinkAsCopy has a file system without hard links, on which another
// name is a file of its own.
func TestHardlinkAsCopy(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, tree{"a": "one\n", "same": "one\n", "other": "two\n", "longer": "three\n", "dir/": ""})
	m := payloadOf([]string{"one\n"}, overlay(bundle.Entry{Path: "a", Type: bundle.RegularFile, Mode: 0o644}))
	c := comparison{p: New(open(t, dir), nil), ctx: t.Context(), manifest: m}
	tests := []struct{ path, link, fault string }{
		{"same", "a", ""},
		{"a", "a", ""},
		{"other", "a", "has other contents"},
		{"longer", "a", "has 6 bytes, not 4"},
		{"dir", "a", "is of type dir, not file"},
		{"same", "other", "no entry other"},
	}
	for _, tt := range tests {
		folder, st, err := c.at(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		folder.FS = &root.Filesystem{Type: "vfat"}
		err = c.hardlink(bundle.Entry{Path: tt.path, Type: bundle.Hardlink, Link: tt.link}, st, folder)
		folder.Close()
		if got := message(err); got != tt.fault {
			t.Errorf("%s as %s: %q, want %q", tt.path, tt.link, got, tt.fault)
		}
	}
}

// message is what an error says, if it is one.
func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestRootPayloadOnNTFS has a file system without owners and modes: they are
// not compared.
func TestRootPayloadOnNTFS(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ntfs", "ntfs-3g")
	disk := lab.File(t, 16<<20)
	lab.Run(t, "mkfs.ntfs", "--quick", "--force", disk)
	dir := t.TempDir()
	lab.Run(t, "ntfs-3g", lab.Loop(t, disk, 512), dir) // on a plain file its type would not tell that it is NTFS
	t.Cleanup(func() { _ = exec.Command("umount", "--quiet", dir).Run() })
	lab.Plant(t, dir, tree{"Windows/System32/config/SOFTWARE": fixture(t, "SOFTWARE"), "Program Files/App/a.txt": "1"})
	lab.Run(t, "ln", filepath.Join(dir, "Program Files/App/a.txt"), filepath.Join(dir, "Program Files/App/b.txt"))

	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	p := New(r, nil)
	check(t, p, []expectation{{probe: "release", want: "10.0.19045"}, {probe: "size|program files/APP/A.TXT", want: int64(1)}})
	entry := bundle.Entry{Path: "Program Files/App/a.txt", Type: bundle.RegularFile, Mode: 0o600, UID: 1234, GID: 1234}
	again := bundle.Entry{Path: "Program Files/App/b.txt", Type: bundle.Hardlink, Link: entry.Path}
	m := payloadOf([]string{"1"}, bundle.Payload{Overlay: &bundle.Overlay{Entries: []bundle.Entry{entry, again}}})
	if got, reason := p.Payload(t.Context(), m, PayloadOptions{}); got != condition.Yes {
		t.Errorf("got %v, %q, want yes", got, reason)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	lab.Unmount(t, dir) // nothing that was asked keeps a file open
}
