package apply

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
)

// appliedWorld returns a disk before and after the world bundle.
func appliedWorld(t *testing.T) (before, after *model) {
	t.Helper()
	before = newWorld(true, ext("boot"))
	after = before.clone()
	if err := applyWorld(t, after); err != nil {
		t.Fatal(err)
	}
	after.settle()
	return before, after
}

func TestUndoRefusesWhatWasChangedSince(t *testing.T) {
	tests := []struct {
		name   string
		change func(w writer)
		path   string
	}{
		{"other contents", func(w writer) {
			w.must(w.m.remove("bin/tool", false))
			w.file("bin/tool", "NEW tool", 0o750)
		}, "bin/tool"},
		{"another mode", func(w writer) {
			w.must(w.m.attributes("bin/tool", &Node{Mode: 0o777}))
		}, "bin/tool"},
		{"gone", func(w writer) { w.must(w.m.remove("bin/other", false)) }, "bin/other"},
		{"back again", func(w writer) { w.file("boot/EFI/gone", "old", 0) }, "boot/EFI/gone"},
		{"a file in a directory that is to go", func(w writer) { w.file("opt/new/tree/more", "more", 0o600) }, "opt/new/tree/more"},
		{"a tree in a directory that is to go", func(w writer) {
			w.dir("opt/new/d")
			w.file("opt/new/d/more", "more", 0o600)
		}, "opt/new/d"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, m := appliedWorld(t)
			tt.change(writer{m})
			changed := m.tree()
			err := undoWorld(m)
			var where *Error
			if !errors.Is(err, ErrChanged) || !errors.As(err, &where) || !strings.Contains(err.Error(), tt.path) {
				t.Errorf("got %v, want ErrChanged at %s", err, tt.path)
			}
			if !maps.Equal(m.tree(), changed) {
				t.Error("the tree was changed")
			}
			if err := newEngine(m, testState).undo(context.Background(), []string{"world"}, true); err != nil {
				t.Fatalf("by force: %v", err)
			}
			for _, fault := range difference(before.tree(), m.tree()) {
				if !strings.Contains(fault, ": got dir ") { // their times are those of whoever was in them
					t.Error("by force: " + fault)
				}
			}
		})
	}
}

// By force, a file of which a bundle changed the mode alone gets its mode back
// and keeps what somebody has written into it; there is nothing else to give it.
func TestUndoByForceOfAttributes(t *testing.T) {
	const p = "etc/app.d/one"
	rewrite := func(text string) func(w writer) {
		return func(w writer) {
			w.must(w.m.remove(p, false))
			w.must(w.m.write(p, strings.NewReader(text), &Node{Type: File, Mode: 0o666, Time: Time{Sec: 900}}))
		}
	}
	tests := []struct {
		name   string
		change func(w writer)
		want   string // empty: refused
	}{
		{"longer", rewrite("edited by hand"), `file 0600 0:0 900.0 "" "edited by hand"`},
		{"as long", rewrite("2"), `file 0600 0:0 900.0 "" "2"`},
		{"another mode", func(w writer) { w.must(w.m.attributes(p, &Node{Mode: 0o777, Time: Time{Sec: 200}})) }, `file 0600 0:0 200.0 "" "1"`},
		{"gone", func(w writer) { w.must(w.m.remove(p, false)) }, ""},
		{"a directory", func(w writer) {
			w.must(w.m.remove(p, false))
			w.dir(p)
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, m := appliedWorld(t)
			tt.change(writer{m})
			changed := m.tree()
			if err := undoWorld(m); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), p) {
				t.Errorf("got %v, want ErrChanged at %s", err, p)
			}
			calls := m.calls
			err := newEngine(m, testState).undo(t.Context(), []string{"world"}, true)
			if tt.want != "" && (err != nil || m.tree()[p] != tt.want) {
				t.Errorf("by force: %v, %s, want %s", err, m.tree()[p], tt.want)
			}
			if tt.want == "" && (!errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), p) || m.calls != calls || !maps.Equal(m.tree(), changed)) {
				t.Errorf("by force: %v after %d operations, want ErrChanged at %s and nothing written", err, m.calls-calls, p)
			}
		})
	}
}

func TestUndoRefusesBeforeWhatCameLater(t *testing.T) {
	_, m := appliedWorld(t)
	e := newEngine(m, testState)
	a := newDraft(m)
	if _, err := a.put("etc/app.d/one", textWant("again", 0o640)); err != nil {
		t.Fatal(err)
	}
	tx, sources, err := testTransaction(t, e, a)
	if err != nil {
		t.Fatal(err)
	}
	tx.Bundle.Name, tx.Receipt.Name = "later", "later"
	between := m.tree()
	if err := e.run(t.Context(), tx, sources); err != nil {
		t.Fatal(err)
	}
	if err := e.undo(t.Context(), []string{"world"}, false); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "later@1.0-1") {
		t.Errorf("got %v, want that later has to be undone first", err)
	}
	if err := e.undo(t.Context(), []string{"later"}, false); err != nil {
		t.Fatal(err)
	}
	if d := difference(between, m.tree()); len(d) > 0 {
		t.Errorf("undoing the later one leaves %v", d)
	}
	if err := e.undo(t.Context(), []string{"nosuch"}, false); !errors.Is(err, ErrNotApplied) {
		t.Errorf("got %v, want ErrNotApplied", err)
	}
}

// Undoing an update gives the version before it, with its receipt, which can
// be undone in turn.
func TestUndoOfUpdate(t *testing.T) {
	before, m := appliedWorld(t)
	one := m.tree()
	e := newEngine(m, testState)
	receipts, err := e.receipts()
	if err != nil {
		t.Fatal(err)
	}
	a := newDraft(m)
	if _, err := a.put("bin/tool", textWant("newer tool", 0o750)); err != nil {
		t.Fatal(err)
	}
	tx, sources, err := testTransaction(t, e, a)
	if err != nil {
		t.Fatal(err)
	}
	tx.Bundle.Version, tx.Receipt.Version, tx.Previous = "2.0", "2.0", &receipts[0]
	if err := e.run(t.Context(), tx, sources); err != nil {
		t.Fatal(err)
	}
	if err := e.recover(t.Context()); err != nil { // which must keep both
		t.Fatal(err)
	}
	for i, want := range []map[string]string{one, before.tree()} {
		if err := e.undo(t.Context(), []string{"world"}, false); err != nil {
			t.Fatalf("undo %d: %v", i, err)
		}
		if d := difference(want, m.tree()); len(d) > 0 {
			t.Errorf("undo %d leaves %v", i, d)
		}
	}
	if left := m.leftover(); len(left) > 0 || m.receipted() {
		t.Errorf("left over: %v, receipt %v", left, m.receipted())
	}
}

// Of many versions the last ones can be undone; the one before them says that
// it cannot, and nothing of it is left over.
func TestUndoKeepsTheLastVersions(t *testing.T) {
	m := newWorld(true, ext("boot"))
	e := newEngine(m, testState)
	trees := []map[string]string{m.tree()}
	const versions = keptVersions + 3
	for n := 1; n <= versions; n++ {
		if err := e.recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		a := newDraft(m)
		for _, p := range []string{"bin/tool", "boot/EFI/loader"} {
			if _, err := a.put(p, textWant(fmt.Sprint("version ", n), 0o750)); err != nil {
				t.Fatal(err)
			}
		}
		tx, sources, err := testTransaction(t, e, a)
		if err != nil {
			t.Fatal(err)
		}
		receipts, err := e.receipts()
		if err != nil {
			t.Fatal(err)
		}
		tx.Previous, tx.Receipt.Version = receiptOf(receipts, "world"), fmt.Sprint(n)
		if err := e.run(t.Context(), tx, sources); err != nil {
			t.Fatal(err)
		}
		trees = append(trees, m.tree())
	}
	for n := versions - 1; n >= versions-keptVersions; n-- {
		if err := undoWorld(m); err != nil {
			t.Fatalf("undoing version %d: %v", n+1, err)
		}
		if d := difference(trees[n], m.tree()); len(d) > 0 {
			t.Errorf("version %d again: %v", n, d)
		}
	}
	if err := undoWorld(m); !errors.Is(err, ErrNoUndo) || !strings.Contains(err.Error(), "world@3-1") {
		t.Errorf("the version before: %v, want ErrNoUndo that names it", err)
	}
	if d := difference(trees[versions-keptVersions], m.tree()); len(d) > 0 {
		t.Errorf("the refusal changed %v", d)
	}
	for _, dir := range []string{testState + "/tx", "boot/.slipcast"} {
		if left, err := m.names(dir); len(left) > 0 {
			t.Errorf("%s: %v, %v, want nothing", dir, left, err)
		}
	}
	if err := applyAs(t, m, "other", "etc/other"); err != nil {
		t.Fatal(err)
	}
	with := m.tree()
	if err := undoWorld(m); !errors.Is(err, ErrNoUndo) || !strings.Contains(err.Error(), "world@3-1") {
		t.Errorf("with a transaction of another product: %v, want ErrNoUndo", err)
	}
	if d := difference(with, m.tree()); len(d) > 0 {
		t.Errorf("undoing one product changed the files of another: %v", d)
	}
}

// applyAs applies a bundle of a product that lays one file.
func applyAs(t *testing.T, m *model, product, file string) error {
	t.Helper()
	e := newEngine(m, testState)
	if err := e.recover(t.Context()); err != nil {
		return err
	}
	a := newDraft(m)
	if _, err := a.put(file, textWant("of "+product, 0o644)); err != nil {
		return err
	}
	tx, sources, err := testTransaction(t, e, a)
	if err != nil {
		return err
	}
	tx.Bundle.Name, tx.Receipt.Name = product, product
	return e.run(t.Context(), tx, sources)
}

// Numbers of transactions grow, also where somebody has taken the transactions
// away: the receipts have them.
func TestNumbersGrow(t *testing.T) {
	m := newWorld(true, ext("boot"))
	for _, product := range []string{"world", "second"} {
		if err := applyAs(t, m, product, "etc/shared"); err != nil {
			t.Fatal(err)
		}
	}
	e := newEngine(m, testState)
	if err := e.removeTree(testState + "/tx"); err != nil {
		t.Fatal(err)
	}
	for _, product := range []string{"third", "fourth"} {
		if err := applyAs(t, m, product, "etc/"+product); err != nil {
			t.Fatal(err)
		}
	}
	receipts, err := e.receipts()
	if err != nil {
		t.Fatal(err)
	}
	for product, want := range map[string]string{"world": "00000001", "second": "00000002", "third": "00000003", "fourth": "00000004"} {
		if r := receiptOf(receipts, product); r == nil || r.Tx != want {
			t.Errorf("%s: receipt %+v, want transaction %s", product, r, want)
		}
	}
	now := m.tree()
	for _, product := range []string{"world", "second"} {
		if err := e.undo(t.Context(), []string{product}, true); !errors.Is(err, ErrNoUndo) {
			t.Errorf("undoing %s: %v, want ErrNoUndo", product, err)
		}
	}
	if d := difference(now, m.tree()); len(d) > 0 {
		t.Errorf("the refusals changed %v", d)
	}
}

// A transaction that has the number in a receipt and is of another bundle is
// not the one that the receipt is of: undoing does not take it, and sweeping does.
func TestNumberOfAnotherBundle(t *testing.T) {
	for name, change := range map[string]func(r *Receipt){
		"another product": func(r *Receipt) { r.Name = "other" },
		"another bundle":  func(r *Receipt) { r.Digest = digest([]byte("other")) },
	} {
		_, m := appliedWorld(t)
		e := newEngine(m, testState)
		receipts, err := e.receipts()
		if err != nil {
			t.Fatal(err)
		}
		other := receipts[0]
		change(&other)
		p, err := other.encode()
		if err != nil {
			t.Fatal(err)
		}
		writer{m}.must(errors.Join(e.absent(testState+"/receipts/world.json"), e.put(testState+"/receipts/"+fileName(other.Product()), p)))
		now := m.tree()
		if err := e.undo(t.Context(), []string{other.Product()}, true); !errors.Is(err, ErrNoUndo) {
			t.Errorf("%s: %v, want ErrNoUndo", name, err)
		}
		if d := difference(now, m.tree()); len(d) > 0 {
			t.Errorf("%s: the refusal changed %v", name, d)
		}
		if err := e.recover(t.Context()); err != nil {
			t.Error(err)
		}
		if left, err := m.names(testState + "/tx"); len(left) > 0 {
			t.Errorf("%s: %v, %v are left, want nothing", name, left, err)
		}
	}
}

func TestUndoRefusesReimage(t *testing.T) {
	m := newWorld(true, ext("boot"))
	e := newEngine(m, testState)
	tx, sources, err := testTransaction(t, e, worldDraft(t, m))
	if err != nil {
		t.Fatal(err)
	}
	tx.Bundle.Rollback = bundle.Reimage
	if err := e.run(t.Context(), tx, sources); err != nil {
		t.Fatal(err)
	}
	after := m.tree()
	for _, force := range []bool{false, true} {
		if err := e.undo(t.Context(), []string{"world"}, force); !errors.Is(err, ErrReimage) {
			t.Errorf("force %v: %v, want ErrReimage", force, err)
		}
	}
	if d := difference(after, m.tree()); len(d) > 0 {
		t.Errorf("the refusal changed %v", d)
	}
}
