package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// errNotFound is what detection says in these tests.
var errNotFound = errors.New("detection says no")

// A tight is a job on a disk whose volumes have an end.
type tight struct {
	base   *model
	vol    int   // the one of which the room is measured out
	verify error // what detection says
	job    func(e *engine, m *model) error
}

func (c *tight) engine(m *model) *engine {
	e := newEngine(m, testState)
	e.verify = func(context.Context, *transaction) error { return c.verify }
	return e
}

// with returns the disk with free bytes on the volume.
func (c *tight) with(free int64) *model {
	m := c.base.clone()
	m.sizes = []int64{1 << 30, 1 << 30}
	m.sizes[c.vol] = m.used(c.vol) + free
	return m
}

// all tries the job with every amount of free room until it goes through, and
// then with an error, and a power cut, at each of its operations. It reports whether all or
// nothing is done. done is the tree if all is, nil if that can never be.
func (c *tight) all(t *testing.T, done map[string]string) {
	t.Helper()
	old, refused, through := c.base.tree(), 0, 0
	for free := int64(0); through < 1; free += modelBlock {
		if free > 1<<20 {
			t.Fatal("1 MiB are not enough")
		}
		m := c.with(free)
		err := c.job(c.engine(m), m)
		c.judge(t, fmt.Sprintf("%d free", free), m, err, old, done)
		if errors.Is(err, ErrNoSpace) {
			refused++
			continue
		}
		through++
		for fail, calls := 1, m.calls; fail <= calls; fail++ {
			m := c.with(free)
			m.fail, m.failure = fail, unix.EIO
			err := c.job(c.engine(m), m)
			c.judge(t, fmt.Sprintf("%d free, operation %d fails", free, fail), m, err, old, done)
			c.cut(t, free, fail, old, done)
		}
	}
	if refused == 0 {
		t.Error("nothing was refused")
	}
}

// cut cuts the power at an operation of the job, and recovers.
func (c *tight) cut(t *testing.T, free int64, call int, old, done map[string]string) {
	t.Helper()
	m := c.with(free)
	m.cut = call
	_ = c.job(c.engine(m), m) // the power is off
	m = m.boot(rand.New(rand.NewPCG(1, uint64(call))))
	if err := c.engine(m).recover(t.Context()); err != nil && (!errors.Is(err, c.verify) || strings.Contains(err.Error(), "has to be recovered")) {
		t.Fatalf("%d free, power cut at %d: recovery: %v", free, call, err)
	}
	if now := m.tree(); !maps.Equal(now, old) && !maps.Equal(now, done) {
		t.Fatalf("%d free, power cut at %d: the tree is neither", free, call)
	}
}

// judge looks at a disk after the job, and again after recovery.
func (c *tight) judge(t *testing.T, what string, m *model, err error, old, done map[string]string) {
	t.Helper()
	want := old
	if err == nil {
		want = done
	}
	if err != nil && strings.Contains(err.Error(), "has to be recovered") {
		if !errors.Is(err, errNotFound) || !errors.Is(err, unix.EIO) {
			t.Fatalf("%s: %v", what, err)
		}
	} else if d := difference(want, m.tree()); len(d) > 0 {
		t.Fatalf("%s: %v, and the tree is neither: %.2000s", what, err, strings.Join(d, "; "))
	}
	m.fail = 0
	if err := c.engine(m).recover(t.Context()); err != nil && !errors.Is(err, c.verify) {
		t.Fatalf("%s: recovery: %v", what, err)
	}
	if d := difference(want, m.tree()); len(d) > 0 {
		t.Fatalf("%s: %v, and the tree is neither after recovery: %.2000s", what, err, strings.Join(d, "; "))
	}
}

// bootDraft wants other files in boot: as large, larger, smaller, new, gone,
// and one where a directory was.
func bootDraft(t testing.TB, m *model) *draft {
	t.Helper()
	a := newDraft(m)
	for name, blocks := range map[string]int{"kernel": 10, "initrd": 20, "grows": 12, "shrinks": 2, "fresh/file": 7, "folder": 3} {
		if _, err := a.put("boot/"+name, textWant(strings.Repeat("2", blocks*modelBlock), 0)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"goes", "folder/in"} {
		if _, err := a.remove("boot/"+name, "a test"); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// With any amount of room a transaction does all, or nothing and says that
// there is not enough, wherever it fails.
func TestRoom(t *testing.T) {
	for name, boot := range map[string]volume{"FAT": fat("boot"), "ext4": ext("boot")} {
		for vol, where := range []string{"root", "boot"} {
			base := newWorld(true, boot)
			w := writer{base}
			w.dir("boot/folder")
			for name, blocks := range map[string]int{"kernel": 10, "initrd": 20, "grows": 5, "shrinks": 9, "goes": 6, "folder/in": 4} {
				w.file("boot/"+name, strings.Repeat("1", blocks*modelBlock), 0)
			}
			apply := func(e *engine, m *model) error {
				tx, sources, err := testTransaction(t, e, bootDraft(t, m))
				if err == nil {
					err = e.room(tx, tx.Bundle.Needs, false)
				}
				if err != nil {
					return err
				}
				return e.run(t.Context(), tx, sources)
			}
			undo := func(e *engine, _ *model) error { return e.undo(t.Context(), []string{"world"}, false) }
			applied := base.clone()
			if err := apply(newEngine(applied, testState), applied); err != nil {
				t.Fatal(err)
			}
			t.Run(name+" "+where+" apply", func(t *testing.T) { (&tight{base, vol, nil, apply}).all(t, applied.tree()) })
			t.Run(name+" "+where+" not found", func(t *testing.T) { (&tight{base, vol, errNotFound, apply}).all(t, nil) })
			t.Run(name+" "+where+" undo", func(t *testing.T) { (&tight{applied.clone(), vol, nil, undo}).all(t, base.tree()) })
		}
	}
}

// A linkless disk is a tree whose volume boot is taken for one without hard
// links, as FAT is, wherever it lies.
type linkless struct{ tree }

func (l linkless) volumes() []volume {
	list := l.tree.volumes()
	for i := range list {
		if list[i].top == "boot" {
			list[i].links = false
		}
	}
	return list
}

func (l linkless) link(old, p string) error {
	if strings.HasPrefix(p, "boot/") {
		return unix.EPERM
	}
	return l.tree.link(old, p)
}

// fillUp leaves only free bytes on a file system.
func fillUp(t *testing.T, dir string, free int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); errors.Is(err, unix.ENOSPC) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Truncate(max(0, info.Size()-free))
	}
	if err != nil {
		t.Fatal(err)
	}
	lab.Sync(t, dir)
}

// TestRootRoom is TestRoom on real file systems, which are full for all but a
// few bytes.
func TestRootRoom(t *testing.T) {
	text := func(c string, kib int) string { return strings.Repeat(c, kib<<10) }
	slb := build(t, "schema: 1\nname: corpus\nversion: 1.0.0\nscheme: semver\npayload:\n  - overlay: {from: files, to: /, delete: [/boot/old]}\n",
		map[string]string{"files/boot/kernel": text("2", 500), "files/boot/initrd": text("2", 1000), "files/boot/new/one": text("2", 100)})
	do := func(dir string, verify error, f func(e *engine, r *root.Root) error) error {
		r, err := root.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		d := linkless{tree{r, new(folders)}}
		defer d.kept.close()
		e := newEngine(d, stateFolder(r))
		e.verify = func(context.Context, *transaction) error { return verify }
		if err := e.recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		return f(e, r)
	}
	apply := func(e *engine, r *root.Root) error {
		b, err := openBundle(slb)
		if err != nil {
			t.Fatal(err)
		}
		_, err = (&application{e: e, r: r, b: b}).run(t.Context())
		return err
	}
	undo := func(e *engine, _ *root.Root) error { return e.undo(t.Context(), []string{"corpus"}, false) }
	for _, full := range []string{"boot", ""} {
		for _, job := range []string{"apply", "not found", "undo"} {
			t.Run(job+" with a full /"+full, func(t *testing.T) {
				f := newFilesystem(t, "ext4", 0)
				populate(t, f.dir)
				boot := filepath.Join(f.dir, "boot")
				mountAt(t, boot, "mkfs.ext2", "-q", "-F", "-m", "0")
				lab.Plant(t, boot, map[string]string{"kernel": text("1", 500), "initrd": text("1", 1000), "old": text("1", 300)})
				old := digestOf(t, f.dir)
				work, verify := apply, error(nil)
				switch job {
				case "not found":
					verify = errNotFound
				case "undo":
					if err := do(f.dir, nil, apply); err != nil {
						t.Fatal(err)
					}
					old, work = digestOf(t, f.dir), undo
				}
				step, refused, end := int64(512<<10), 0, false
				if full == "" && job == "undo" {
					step = 32 << 10
				}
				for free := int64(0); !end; free += step {
					fillUp(t, filepath.Join(f.dir, full), free)
					err := do(f.dir, verify, work)
					if err := os.Remove(filepath.Join(f.dir, full, "filler")); err != nil {
						t.Fatal(err)
					}
					end = !errors.Is(err, ErrNoSpace)
					if !end {
						refused++
					}
					if verify != nil && end && !errors.Is(err, verify) || verify == nil && end && err != nil {
						t.Fatalf("%d free: %v", free, err)
					}
					if got := digestOf(t, f.dir); (got == old) != (err != nil) {
						t.Fatalf("%d free: %v, and the tree is neither", free, err)
					}
				}
				t.Logf("refused %d times", refused)
				if refused == 0 {
					t.Error("nothing was refused")
				}
			})
		}
	}
}

// What a write could not write whole is not there afterwards.
func TestRootWriteLeavesNothing(t *testing.T) {
	f := newFilesystem(t, "ext4", 0)
	fillUp(t, f.dir, 4<<20)
	r, err := root.Open(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	d := tree{r: r}
	failing := io.MultiReader(strings.NewReader("some"), readerOf(func([]byte) (int, error) { return 0, errNotFound }))
	for name, src := range map[string]io.Reader{"full": strings.NewReader(strings.Repeat("x", 8<<20)), "failing": failing} {
		if err := d.write(name, src, &Node{Type: File, Mode: 0o600}); !errors.Is(err, unix.ENOSPC) && !errors.Is(err, errNotFound) {
			t.Errorf("%s: %v, want an error of the write", name, err)
		}
		if _, err := os.Lstat(filepath.Join(f.dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want it to be gone", name, err)
		}
	}
	lab.Sync(t, f.dir) // ext4 counts what a removed file had when its journal is written
	if s, err := d.space(0); err != nil || s.free+s.reserved < 1<<19 {
		t.Errorf("%+v, %v: the room is not there again", s, err)
	}
}

type readerOf func([]byte) (int, error)

func (f readerOf) Read(p []byte) (int, error) { return f(p) }
