package apply

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// hostile does to a root what somebody could who had its disk, and wants every
// operation to refuse, by name, without a change to what is not slipcast's.
func hostile(t *testing.T, dir, name string) {
	t.Helper()
	before := lab.Tree(t, dir)
	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := openBundle(simple(t, "second", "", map[string]string{"etc/x": "x", "boot/x": "x"}))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for what, f := range map[string]func() error{
		"apply":   func() error { _, err := Apply(ctx, r, b, Options{}); return err },
		"undo":    func() error { return Undo(ctx, r, []string{"corpus"}, Options{}) },
		"force":   func() error { return Undo(ctx, r, []string{"corpus"}, Options{Force: true}) },
		"recover": func() error { return Recover(ctx, r, Options{}) },
	} {
		if err := f(); !errors.Is(err, ErrDamaged) && !errors.Is(err, root.ErrForeign) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrDamaged that names %s", what, err, name)
		}
	}
	lab.SameTree(t, lab.Tree(t, dir), before)
}

// Links, devices and other things in the place of the folders of slipcast lead
// nowhere.
func TestRootHostileState(t *testing.T) {
	lab.Root(t)
	const state = "var/lib/slipcast"
	link := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			file := filepath.Join(dir, name)
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink("/home/trap", file); err != nil {
				t.Fatal(err)
			}
		}
	}
	device := func(mode uint32) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			file := filepath.Join(dir, state, "lock")
			if err := errors.Join(os.Remove(file), unix.Mknod(file, mode|0o600, int(unix.Mkdev(1, 3)))); err != nil {
				t.Fatal(err)
			}
		}
	}
	mounted := func(fstab string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			plant(t, filepath.Join(dir, "etc/fstab"), fstab, 0o644)
			mountAt(t, filepath.Join(dir, state, "tx"), "mkfs.ext4", "-q", "-F")
		}
	}
	for name, tt := range map[string]struct {
		plant func(t *testing.T, dir string)
		path  string
	}{
		"the state is a link":          {link(state), state},
		"the transactions are a link":  {link(state + "/tx"), state + "/tx"},
		"the receipts are a link":      {link(state + "/receipts"), state + "/receipts"},
		"the queue is a link":          {link(state + "/queue"), state + "/queue"},
		"a transaction is a link":      {link(state + "/tx/00000001"), state + "/tx/00000001"},
		"another one is a link":        {link(state + "/tx/00000002"), state + "/tx/00000002"},
		"the stage is a link":          {link(state + "/tx/00000001/stage"), state + "/tx/00000001/stage"},
		"what undoes it is a link":     {link(state + "/tx/00000001/undo"), state + "/tx/00000001/undo"},
		"the lock is a link":           {link(state + "/lock"), state + "/lock"},
		"the lock is a device":         {device(unix.S_IFCHR), state + "/lock"},
		"the lock is a disk":           {device(unix.S_IFBLK), state + "/lock"},
		"the lock is a pipe":           {device(unix.S_IFIFO), state + "/lock"},
		"the other folder is a link":   {link("boot/.slipcast"), "boot/.slipcast"},
		"transactions on another disk": {mounted("/dev/sdz9 /var/lib/slipcast/tx ext4 defaults 0 0\n"), state + "/tx"},
		"transactions on a stick":      {mounted(""), state + "/tx"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFilesystem(t, "ext4", 0)
			populate(t, f.dir)
			mountAt(t, filepath.Join(f.dir, "boot"), "mkfs.ext4", "-q", "-F")
			if err := tryApply(t, f.dir, simple(t, "corpus", "", map[string]string{"etc/app.d/one": "new", "home/new": "x"})); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"00000001/stage/1", "00000001/undo/1", "00000001/commit", "00000002/commit", "00000009/x", "corpus.json", "0001-x/result", "stage/1", "undo/1"} {
				plant(t, filepath.Join(f.dir, "home/trap", file), "bait", 0o644)
			}
			tt.plant(t, f.dir)
			hostile(t, f.dir, tt.path)
		})
	}
}

// A transaction that somebody wrote himself is one of his own root: it leads
// nowhere else, whatever its steps say.
func TestRootHostileTransaction(t *testing.T) {
	lab.Root(t)
	outside := filepath.Join(t.TempDir(), "outside")
	plant(t, filepath.Join(outside, "victim"), "untouched", 0o600)
	dir := t.TempDir()
	populate(t, dir)
	for _, name := range []string{"up", "etc/up"} {
		if err := os.Symlink(strings.Repeat("../", 20)+outside, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "away")); err != nil {
		t.Fatal(err)
	}
	before := lab.Tree(t, outside)
	bare := fuzzed()
	bare.Receipt, bare.Steps = nil, nil
	p, err := bare.encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tx/00000002/tx.json": string(p), "tx/00000002/commit": digest(p) + "\n", "receipts/x": "", "lock": ""} {
		plant(t, filepath.Join(dir, "var/lib/slipcast", name), text, 0o600)
	}
	hostile(t, dir, "tx/00000002/tx.json")
	if err := os.RemoveAll(filepath.Join(dir, "var/lib/slipcast")); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"up/victim", "etc/up/victim", "away/victim", "away/new"} {
		tx := fuzzed()
		tx.ID, tx.Receipt.Tx = "00000007", "00000007"
		tx.Steps = []step{{Path: Name(where), Before: &Node{Type: File, Data: 1}, After: &Node{Type: File, Mode: 0o4777, Size: 4, Data: 1}}}
		tx.Receipt.Paths = changed(tx.Steps)
		p, err := tx.encode()
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Join(dir, "var/lib/slipcast/tx/00000007")
		for name, text := range map[string]string{"tx.json": string(p), "commit": digest(p) + "\n", "stage/1": "evil", "undo/1": "evil"} {
			plant(t, filepath.Join(folder, name), text, 0o600)
		}
		r, err := root.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		_ = Recover(t.Context(), r, Options{}) // it may do to the root what it wants
		r.Close()
		lab.SameTree(t, lab.Tree(t, outside), before)
		if err := os.RemoveAll(filepath.Join(dir, "var/lib/slipcast")); err != nil {
			t.Fatal(err)
		}
	}
}
