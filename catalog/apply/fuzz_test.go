package apply

import (
	"bytes"
	"context"
	"errors"
	"path"
	"testing"
	"time"

	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
)

// fuzzed is a transaction with all kinds of steps.
func fuzzed() *transaction {
	file := &Node{Type: File, Mode: 0o644, Size: 3, SHA256: digest([]byte("abc")), Data: 1, Xattrs: []bundle.Xattr{{Name: "user.x", Value: []byte("1")}}}
	dir := &Node{Type: Dir, Mode: 0o755, Time: Time{Sec: 5, Nsec: 6}}
	steps := []step{
		{Path: "a", Before: dir, After: file, Own: true}, {Path: "b\xff", Before: &Node{Type: Symlink, Link: "x", Data: 2}},
		{Path: "c", Before: dir, After: dir, How: touch}, {Path: "d", Before: file, After: file, How: nothing},
	}
	r := &Receipt{
		Schema: 1, Name: "n", Version: "1", Scheme: "dotted", Release: 1, Digest: digest(nil), Time: time.Unix(1, 0).UTC(), Times: 1,
		Tx: "00000002", Params: []Setting{{"p", "v"}}, Secrets: []string{"s"}, Queue: []string{"0001-n"}, Paths: changed(steps),
	}
	header := bundle.Header{Schema: 1, Name: "n", Version: "1", Scheme: "dotted", Release: 1, Family: "linux"}
	return &transaction{Schema: 1, ID: "00000002", Bundle: header, Volumes: []Name{""}, Steps: steps, Receipt: r}
}

// Whatever is read can be written again as the same bytes, and names nothing
// outside of the root. A recovery that finds it committed ends.
func FuzzDecodeTransaction(f *testing.F) {
	seeds := []*transaction{fuzzed(), fuzzed(), fuzzed(), fuzzed()}
	seeds[0].Volumes = []Name{"", "boot", "b\xff"} // the others are of file systems that are there
	seeds[1].Bundle.Detect.Present, seeds[1].Receipt.Queue, seeds[1].Steps = `exists("/etc/hosts")`, nil, nil
	seeds[2].Undoes, seeds[2].Rollback, seeds[2].Receipt = "00000001", true, nil
	seeds[3].Receipt, seeds[3].Steps = nil, nil
	for _, tx := range seeds {
		p, err := tx.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	f.Add([]byte("{}\n"))
	r, err := root.Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { r.Close() })
	f.Fuzz(func(t *testing.T, p []byte) {
		tx, err := decodeTransaction(p)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v, want ErrDamaged", err)
			}
			return
		}
		if again, err := tx.encode(); err != nil || !bytes.Equal(again, p) {
			t.Errorf("%q is read, and written as %q, %v", p, again, err)
		}
		for _, s := range tx.Steps {
			if checkPath(string(s.Path)) != nil {
				t.Errorf("step at %q", s.Path)
			}
		}
		recoverFrom(tx.ID, p, r)
	})
}

// recoverFrom recovers a disk on which a transaction is committed. What becomes
// of the disk is the affair of whoever wrote it there.
func recoverFrom(id string, p []byte, r *root.Root) {
	m := newWorld(true, fat("boot"))
	w := writer{m}
	folder := testState + "/tx/" + id
	for _, dir := range []string{testState, testState + "/tx", testState + "/receipts", folder, folder + "/stage", folder + "/undo"} {
		w.dir(dir)
	}
	for name, text := range map[string]string{"tx.json": string(p), "commit": digest(p) + "\n", "stage/1": "abc", "undo/1": "abc", "undo/2": "x"} {
		w.file(path.Join(folder, name), text, 0o600)
	}
	e := newEngine(m, testState)
	e.verify = func(ctx context.Context, t *transaction) error { return found(ctx, t, e.facts(r, nil)) }
	_ = e.recover(context.Background()) // it says what it wants, and does not panic
}

func FuzzDecodeReceipt(f *testing.F) {
	p, err := fuzzed().Receipt.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add([]byte("[]\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := DecodeReceipt(p)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%v, want ErrDamaged", err)
			}
			return
		}
		if again, err := r.encode(); err != nil || !bytes.Equal(again, p) {
			t.Errorf("%q is read, and written as %q, %v", p, again, err)
		}
		if !isID(r.Tx) {
			t.Errorf("transaction %q", r.Tx)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	whole, err := fuzzed().encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeTransaction(whole); err != nil {
		t.Fatal(err)
	}
	receipt, err := canonical(fuzzed().Receipt)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, old, new string }{
		{"a receipt of another transaction", `"tx":"00000002"`, `"tx":"00000001"`},
		{"a path that leads out", `"path":"a"`, `"path":"../a"`},
		{"an absolute path", `"path":"a"`, `"path":"/a"`},
		{"the root itself as a file", `"path":"a"`, `"path":"."`},
		{"a folder elsewhere", `"id":"00000002"`, `"id":"../../../x"`},
		{"a key that is not known", `{"schema":1,"id"`, `{"schema":1,"more":1,"id"`},
		{"a key twice", `{"schema":1,"id"`, `{"schema":1,"schema":1,"id"`},
		{"another type", `"type":"file"`, `"type":"door"`},
		{"bits that there are not", `"mode":420`, `"mode":99999`},
		{"a blank", `{"schema"`, `{ "schema"`},
		{"steps out of order", `"path":"c"`, `"path":"z"`},
		{"an undo of what comes later", `"steps"`, `"undoes":"00000009","steps"`},
	}
	tests = append(tests, struct{ name, old, new string }{"no receipt of what it applies", `,"receipt":` + string(receipt), ""})
	for _, tt := range tests {
		p := bytes.Replace(whole, []byte(tt.old), []byte(tt.new), 1)
		if _, err := decodeTransaction(p); bytes.Equal(p, whole) || !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", tt.name, err)
		}
	}
}
