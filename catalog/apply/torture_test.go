package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"slipcast/catalog/bundle"
)

const testState = "var/lib/slipcast"

func ext(top string) volume {
	return volume{top: top, kind: "ext4", links: true, owners: true, xattrs: true}
}

func fat(top string) volume { return volume{top: top, kind: "vfat"} }

// worlds are the disks on which transactions are tried, by name.
func worlds() map[string]*model {
	return map[string]*model{
		"two file systems with journals":    newWorld(true, ext("boot")),
		"two file systems without journals": newWorld(false, ext("boot")),
		"a FAT beside one with a journal":   newWorld(true, fat("boot")),
		"a FAT beside one without":          newWorld(false, fat("boot")),
	}
}

// newWorld returns a disk with a tree.
func newWorld(ordered bool, boot volume) *model {
	m := newModel(ordered, ext(""), boot)
	w := writer{m}
	for _, dir := range []string{"bin", "etc", "etc/app.d", "lib", "lib/old", "lib/old/deep", "var", "var/lib", "boot/EFI",
		"opt", "opt/app", "opt/app/bin", "doc", "doc/bar", "doc/foo"} {
		w.dir(dir)
	}
	w.file("bin/tool", "old tool", 0o755)
	w.file("etc/hosts", "127.0.0.1 localhost\n", 0o644)
	w.file("etc/app.d/one", "1", 0o600)
	w.file("lib/old/x", "x", 0o644)
	w.file("lib/old/deep/y", "y", 0o644)
	w.file("lib/plain", "a file that becomes a directory", 0o644)
	w.file("boot/EFI/loader", "old loader", 0)
	w.file("boot/EFI/gone", "old", 0)
	w.must(m.symlink("sbin", &Node{Type: Symlink, Link: "/bin"}))
	w.file("opt/app/bin/run", "old run", 0o755)
	w.file("doc/bar/copyright", "of bar", 0o644)
	w.file("doc/foo/copyright", "of foo", 0o644)
	w.must(m.symlink("doc/own", &Node{Type: Symlink, Link: "bar"}))
	w.must(m.symlink("lib/link", &Node{Type: Symlink, Link: "old"}))
	w.must(m.link("etc/hosts", "etc/hosts.too"))
	w.must(m.link("etc/hosts", "lib/hosts"))
	m.settle()
	m.calls = 0
	return m
}

// A writer fills a model.
type writer struct{ m *model }

func (w writer) must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w writer) dir(p string) {
	w.must(w.m.mkdir(p))
	w.must(w.m.attributes(p, &Node{Mode: 0o755, Time: Time{Sec: 100}}))
}

func (w writer) file(p, text string, mode uint32) {
	w.must(w.m.write(p, strings.NewReader(text), &Node{Type: File, Mode: mode, Time: Time{Sec: 200}}))
}

// text is a source of a file with these contents.
func text(s string) source {
	return source{open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s)), nil }}
}

func textWant(s string, mode uint32) *want {
	return &want{node: &Node{Type: File, Mode: mode, Size: int64(len(s))}, src: text(s), origin: "a test"}
}

// worldDraft wants every kind of change at once.
func worldDraft(t testing.TB, d disk) *draft {
	t.Helper()
	a := newDraft(d)
	put := func(p string, w *want) {
		t.Helper()
		if _, err := a.put(p, w); err != nil {
			t.Fatal(err)
		}
	}
	place := func(p string, w *want) {
		t.Helper()
		if err := a.place(p, w); err != nil {
			t.Fatal(err)
		}
	}
	put(".", &want{node: &Node{Type: Dir, Mode: 0o711, UID: 3}})
	put("bin/tool", textWant("new tool", 0o750))
	put("sbin/other", textWant("through a link", 0o755))
	put("etc/hosts.too", textWant("no hard link any more", 0o644))
	put("lib/plain", &want{node: &Node{Type: Dir, Mode: 0o700}})
	put("lib/plain/inside", textWant("inside", 0o600))
	put("lib/old", textWant("a directory that became a file", 0o644))
	put("opt/new/tree/file", textWant("first", 0o644))
	put("opt/new/tree/twin", &want{node: &Node{Type: File, Mode: 0o644, Size: 5}, same: "opt/new/tree/file"})
	put("opt/link", &want{node: &Node{Type: Symlink, Link: "new/tree"}})
	put("opt/app-2/bin/run", textWant("new run", 0o755))
	put("opt/app", &want{node: &Node{Type: Symlink, Link: "app-2"}}) // with the names that were below it
	put("doc/foo", &want{node: &Node{Type: Symlink, Link: "bar"}})
	place("doc/own", &want{node: &Node{Type: Dir, Mode: 0o755}}) // a link before, to where the same name is
	place("doc/own/copyright", textWant("its own", 0o644))
	put("etc/app.d", &want{node: &Node{Type: Dir, Mode: 0o711, UID: 7}})
	put("etc/app.d/one", textWant("1", 0o640))
	put("boot/EFI/loader", textWant("new loader, longer", 0))
	put("boot/EFI/new/more", textWant("more", 0))
	for _, p := range []string{"boot/EFI/gone", "lib/link"} {
		if _, err := a.remove(p, "a test"); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// testTransaction makes a transaction of a draft.
func testTransaction(t testing.TB, e *engine, a *draft) (*transaction, map[int]source, error) {
	t.Helper()
	steps, sources, err := a.steps(context.Background(), Time{Sec: 300})
	if err != nil {
		return nil, nil, err
	}
	receipts, err := e.receipts()
	if err != nil {
		return nil, nil, err
	}
	id, err := e.next(receipts)
	if err != nil {
		return nil, nil, err
	}
	header := bundle.Header{Schema: 1, Name: "world", Version: "1.0", Scheme: "dotted", Release: 1, Family: "linux"}
	receipt := &Receipt{
		Schema: 1, Name: "world", Version: "1.0", Scheme: "dotted", Release: 1, Digest: digest(nil),
		Time: time.Unix(300, 0).UTC(), Times: 1, Tx: id, Paths: changed(steps),
	}
	return &transaction{Schema: 1, ID: id, Bundle: header, Steps: steps, Receipt: receipt}, sources, nil
}

// applyWorld recovers a disk and applies the draft to it.
func applyWorld(t testing.TB, m disk) error {
	t.Helper()
	e := newEngine(m, testState)
	if err := e.recover(context.Background()); err != nil {
		return err
	}
	tx, sources, err := testTransaction(t, e, worldDraft(t, m))
	if err != nil {
		return err
	}
	return e.run(context.Background(), tx, sources)
}

// errRefused is what applyRefused ends with, if nothing else goes wrong.
var errRefused = errors.New("not found")

// applyRefused applies the draft, which is not found afterwards.
func applyRefused(t testing.TB, d disk) error {
	t.Helper()
	e := newEngine(d, testState)
	e.verify = func(context.Context, *transaction) error { return errRefused }
	tx, sources, err := testTransaction(t, e, worldDraft(t, d))
	if err != nil {
		return err
	}
	return e.run(context.Background(), tx, sources)
}

// undoWorld takes it off again.
func undoWorld(m *model) error {
	e := newEngine(m, testState)
	if err := e.recover(context.Background()); err != nil {
		return err
	}
	return e.undo(context.Background(), []string{"world"}, false)
}

// clone returns a copy of a disk that nobody is writing to.
func (m *model) clone() *model {
	m.settle()
	c := m.boot(rand.New(rand.NewPCG(0, 0)))
	c.deaf, c.calls = 0, 0
	return c
}

// tree returns all that a model has, but for the files of slipcast.
func (m *model) tree() map[string]string {
	out := map[string]string{}
	var walk func(p string, ino uint64)
	walk = func(p string, ino uint64) {
		if p == testState || strings.HasPrefix(path.Base(p), ".slipcast") {
			return
		}
		n := m.nodes[ino].copy()
		if p == path.Dir(testState) || p == "boot" { // where the folders of slipcast itself are made
			n.node.Time = Time{}
		}
		if p != "" {
			out[p] = fmt.Sprintf("%s %04o %d:%d %d.%d %q %q", n.node.Type, n.node.Mode, n.node.UID, n.node.GID, n.node.Time.Sec, n.node.Time.Nsec, n.node.Link, n.data)
		}
		if p == "" {
			out["."] = fmt.Sprintf("%s %04o %d:%d", n.node.Type, n.node.Mode, n.node.UID, n.node.GID)
		}
		for name, to := range n.entries {
			walk(path.Join(p, name), to)
		}
	}
	walk("", 1)
	return out
}

// receipted reports whether there is a receipt.
func (m *model) receipted() bool {
	_, err := m.stat(testState + "/receipts/world.json")
	return err == nil
}

// leftover returns paths of slipcast that nobody needs.
func (m *model) leftover() []string {
	var list []string
	for _, dir := range []string{testState + "/tx", "boot/.slipcast"} {
		ids, _ := m.names(dir)
		for _, id := range ids {
			names, _ := m.names(path.Join(dir, id))
			for _, name := range names {
				if name != "undo" && name != "tx.json" || !m.receipted() {
					list = append(list, path.Join(dir, id, name))
				}
			}
		}
	}
	return list
}

// A cutter cuts the power of one job at every operation.
type cutter struct {
	base     *model
	job      func(m *model) error
	old, new map[string]string
	receipt  bool // there is one in the new state
	calls    int
	cuts     int
	bad      []string
}

func newCutter(t testing.TB, base *model, receipt bool, job func(m *model) error) *cutter {
	t.Helper()
	c := &cutter{base: base, job: job, old: base.tree(), receipt: receipt}
	m := base.clone()
	if err := job(m); err != nil {
		t.Fatal(err)
	}
	c.new, c.calls = m.tree(), m.calls
	if maps.Equal(c.old, c.new) || c.calls < 50 {
		t.Fatalf("the job does nothing in %d operations", c.calls)
	}
	return c
}

// run cuts at every operation, rounds times, with the barrier deaf being
// ignored.
func (c *cutter) run(rounds, deaf int, seed uint64) {
	chance := rand.New(rand.NewPCG(seed, uint64(deaf)))
	for cut := 1; cut <= c.calls; cut++ {
		for range rounds {
			if fault := c.once(cut, deaf, chance); fault != "" {
				c.bad = append(c.bad, fmt.Sprintf("cut at %d: %s", cut, fault))
			}
		}
	}
}

// once cuts the power at operation cut, and maybe again and again while the
// disk is recovered. It returns what is wrong then.
func (c *cutter) once(cut, deaf int, chance *rand.Rand) string {
	m := c.base.clone()
	m.cut, m.deaf = cut, deaf
	err := c.job(m)
	done := err == nil
	for more := 2; ; more-- {
		c.cuts++
		m = m.boot(chance)
		if more > 0 {
			m.cut = 1 + chance.IntN(c.calls)
		}
		err := newEngine(m, testState).recover(context.Background())
		if !m.off && err != nil {
			return "recovery: " + err.Error()
		}
		if !m.off {
			return c.judge(m, done)
		}
	}
}

// judge says what is wrong with a disk that was recovered.
func (c *cutter) judge(m *model, done bool) string {
	now := m.tree()
	isOld, isNew := maps.Equal(now, c.old), maps.Equal(now, c.new)
	switch {
	case !isOld && !isNew:
		return "mixed: " + strings.Join(append(difference(c.old, now), difference(c.new, now)...), "; ")
	case done && !isNew:
		return "it was said to be done, and is not"
	case m.receipted() != (isNew == c.receipt):
		return fmt.Sprintf("new: %v, receipt: %v", isNew, m.receipted())
	}
	if left := m.leftover(); len(left) > 0 {
		return fmt.Sprintf("left over: %v", left)
	}
	return ""
}

func difference(want, got map[string]string) []string {
	var list []string
	for _, p := range slices.Sorted(maps.Keys(want)) {
		if got[p] != want[p] {
			list = append(list, fmt.Sprintf("%s: got %s, want %s", p, got[p], want[p]))
		}
	}
	for p := range got {
		if want[p] == "" {
			list = append(list, p+": not expected")
		}
	}
	return list
}

func TestPowerCuts(t *testing.T) {
	total := 0
	for name, base := range worlds() {
		t.Run(name+": apply", func(t *testing.T) {
			total += cutAll(t, newCutter(t, base, true, func(m *model) error { return applyWorld(t, m) }), 4)
		})
		t.Run(name+": undo", func(t *testing.T) {
			applied := base.clone()
			if err := applyWorld(t, applied); err != nil {
				t.Fatal(err)
			}
			applied.settle()
			c := newCutter(t, applied, false, undoWorld)
			if d := difference(base.tree(), c.new); len(d) > 0 {
				t.Errorf("apply and undo leave: %s", strings.Join(d, "\n"))
			}
			total += cutAll(t, c, 4)
		})
		t.Run(name+": rollback", func(t *testing.T) {
			c := newCutter(t, base, true, func(m *model) error { return applyWorld(t, m) })
			c.job = func(m *model) error { return applyRefused(t, m) }
			m := base.clone()
			if err := c.job(m); !errors.Is(err, errRefused) || !maps.Equal(m.tree(), c.old) {
				t.Fatalf("got %v, want %v and the old tree", err, errRefused)
			}
			c.calls = m.calls
			total += cutAll(t, c, 1)
		})
	}
	t.Logf("%d power cuts", total)
}

func cutAll(t *testing.T, c *cutter, rounds int) int {
	t.Helper()
	c.run(rounds, 0, 1)
	for i, fault := range c.bad {
		if i < 5 {
			t.Error(fault)
		}
	}
	if len(c.bad) > 0 {
		t.Errorf("%d of %d cuts end wrong", len(c.bad), c.cuts)
	}
	return c.cuts
}

// The suite must see a barrier that is missing: each of them.
func TestPowerCutsSeeMissingBarrier(t *testing.T) {
	for barrier := afterStage; barrier <= afterEnd; barrier++ {
		t.Run(fmt.Sprint(barrier), func(t *testing.T) {
			apply, undo := 0, 0
			for _, base := range worlds() {
				c := newCutter(t, base, true, func(m *model) error { return applyWorld(t, m) })
				c.run(2, barrier, 1)
				apply += len(c.bad)
				applied := base.clone()
				if err := applyWorld(t, applied); err != nil {
					t.Fatal(err)
				}
				applied.settle()
				c = newCutter(t, applied, false, undoWorld)
				c.run(2, barrier, 1)
				undo += len(c.bad)
			}
			if apply+undo == 0 {
				t.Errorf("without barrier %d all power cuts end well: the test is blind, or the barrier not needed", barrier)
			}
			t.Logf("without barrier %d: %d cuts of an application and %d of an undo end wrong", barrier, apply, undo)
		})
	}
}

// A noted model remembers before which operation each barrier was passed.
type noted struct {
	*model
	barriers [][2]int // operation, number
}

func (n *noted) barrier(number int, vols []int) error {
	err := n.model.barrier(number, vols)
	n.barriers = append(n.barriers, [2]int{n.calls, number})
	return err
}

// A system that was started after a power cut, and ran before anybody recovered
// it, keeps what it changed, if the steps were all done before the cut.
func TestRecoverKeepsWhatRanSince(t *testing.T) {
	jobs := map[string]func(d disk) error{
		"apply":    func(d disk) error { return applyWorld(t, d) },
		"rollback": func(d disk) error { return applyRefused(t, d) },
		"undo":     func(d disk) error { return newEngine(d, testState).undo(t.Context(), []string{"world"}, false) },
	}
	chance := rand.New(rand.NewPCG(1, 12))
	for name, base := range worlds() {
		for what, job := range jobs {
			base := base.clone()
			if what == "undo" {
				if err := applyWorld(t, base); err != nil {
					t.Fatal(err)
				}
			}
			n := &noted{model: base.clone()}
			if err := job(n); err != nil && !errors.Is(err, errRefused) {
				t.Fatal(err)
			}
			last := n.barriers[len(n.barriers)-2:]
			if last[0][1] != afterReceipt || last[1][1] != afterEnd {
				t.Fatalf("%s: barriers %v, want the last two to be those of the end", what, n.barriers)
			}
			kept := 0
			for cut := last[0][0] + 1; cut <= last[1][0]; cut++ {
				for range 20 {
					m := base.clone()
					m.cut = cut
					_ = job(m) // the power fails
					m = m.boot(chance)
					ran(m)
					want := m.tree()
					e := newEngine(m, testState)
					e.log = func(string) { kept++ }
					if err := e.recover(t.Context()); err != nil {
						t.Fatalf("%s, %s, cut at %d: %v", name, what, cut, err)
					}
					if d := difference(want, m.tree()); len(d) > 0 {
						t.Fatalf("%s, %s, cut at %d: recovery changes what the system did: %s", name, what, cut, strings.Join(d, "\n"))
					}
					if left := m.leftover(); len(left) > 0 {
						t.Errorf("%s, %s, cut at %d: left over: %v", name, what, cut, left)
					}
				}
			}
			if kept == 0 {
				t.Errorf("%s, %s: no cut left a transaction to finish", name, what)
			}
		}
	}
}

// ran does to a disk what a system does that runs for weeks: files are edited
// in place, taken away and made.
func ran(m *model) {
	w := writer{m}
	for _, p := range []string{"bin/tool", "boot/EFI/loader", "etc/app.d/one"} {
		w.must(m.remove(p, false))
		w.file(p, "edited", 0o600)
	}
	for _, p := range []string{"bin/other", "boot/EFI/gone", "lib/link", "lib/old"} {
		if st, err := m.stat(p); err == nil && !st.dir() {
			w.must(m.remove(p, false))
			continue
		}
		if _, err := m.stat(p); err != nil {
			w.file(p, "made", 0o600)
		}
	}
	w.must(m.attributes("etc/app.d", &Node{Mode: 0o700, UID: 9}))
	m.settle()
}

// An error at any operation leaves the old tree or, once all is done, the new
// one, and never a stage.
func TestErrorAtEveryOperation(t *testing.T) {
	for _, failure := range []error{errors.New("no space left on device"), errors.New("input/output error")} {
		for name, base := range worlds() {
			t.Run(failure.Error()+" on "+name, func(t *testing.T) {
				c := newCutter(t, base, true, func(m *model) error { return applyWorld(t, m) })
				for at := 1; at <= c.calls; at++ {
					failOnce(t, c, at, failure)
				}
			})
		}
	}
}

func failOnce(t *testing.T, c *cutter, at int, failure error) {
	t.Helper()
	m := c.base.clone()
	m.fail, m.failure = at, failure
	err := c.job(m)
	now := m.tree()
	switch {
	case err == nil && !maps.Equal(now, c.new):
		t.Errorf("operation %d fails, all is said to be well, and the tree is not the new one", at)
	case err != nil && !maps.Equal(now, c.old):
		t.Errorf("operation %d fails (%v), and the tree is not the old one: %s", at, err, strings.Join(difference(c.old, now), "\n"))
	case err != nil && !errors.Is(err, failure):
		t.Errorf("operation %d: got %v, want %v", at, err, failure)
	case err != nil && len(m.leftover()) > 0:
		t.Errorf("operation %d fails (%v), and this is left: %v", at, err, m.leftover())
	}
	m.fail = 0
	if err := newEngine(m, testState).recover(context.Background()); err != nil || len(m.leftover()) > 0 {
		t.Errorf("operation %d: recovery afterwards: %v, left over %v", at, err, m.leftover())
	}
}

var _ disk = (*model)(nil)

// What could not be read again is not committed.
func TestStageRefusesWhatCannotBeRead(t *testing.T) {
	keep := func(p string, n *Node) step { return step{Path: Name(p), Before: n, After: n, How: nothing} }
	var many []step
	for i := range maxReceipt/4000 + 1 {
		many = append(many, keep(fmt.Sprintf("%05d", i)+strings.Repeat("/x", 1995), &Node{Type: Dir}))
	}
	for text, steps := range map[string][]step{
		"make several bundles of it":     many,
		`extended attribute "user.\xff"`: {keep("etc", &Node{Type: Dir, Xattrs: []bundle.Xattr{{Name: "user.\xff"}}})},
		"could not be read again":        {keep("etc"+strings.Repeat("/x", 4000), &Node{Type: Dir})},
	} {
		m := newWorld(true, ext("boot"))
		before := m.tree()
		e := newEngine(m, testState)
		tx, sources, err := testTransaction(t, e, worldDraft(t, m))
		if err != nil {
			t.Fatal(err)
		}
		tx.Steps = append(steps, tx.Steps...)
		slices.SortFunc(tx.Steps, func(a, b step) int { return strings.Compare(string(a.Path), string(b.Path)) })
		tx.Steps = slices.CompactFunc(tx.Steps, func(a, b step) bool { return a.Path == b.Path })
		if err := e.run(t.Context(), tx, sources); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%.200v, want an error with %q", err, text)
		}
		if d := difference(before, m.tree()); len(d) > 0 || m.receipted() || len(m.leftover()) > 0 {
			t.Errorf("%s: left are %v, %v", text, d, m.leftover())
		}
		if err := applyWorld(t, m); err != nil {
			t.Errorf("%s: and the next one: %v", text, err)
		}
	}
}

func TestTransactionRoundTrip(t *testing.T) {
	m := newWorld(true, ext("boot"))
	e := newEngine(m, testState)
	tx, _, err := testTransaction(t, e, worldDraft(t, m))
	if err != nil {
		t.Fatal(err)
	}
	tx.Steps = []step{{Path: "a\xffname", After: tx.Steps[1].After}}
	want, err := tx.encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := decodeTransaction(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := again.encode(); !bytes.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
}
