package apply

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// recover ends what was begun: section 9.5.
func (e *engine) recover(ctx context.Context) error {
	ids, err := e.ids()
	if err != nil || len(ids) == 0 {
		return err
	}
	for _, id := range ids { // the newest first: it may be the inverse of an older one
		if err := e.resume(ctx, id); err != nil {
			return err
		}
	}
	return e.sweep(ids)
}

// resume finishes transaction id if it is committed. Of one whose steps were all
// done before it was cut short, none is done again: the system may have run
// since, and what it changed is to stay.
func (e *engine) resume(ctx context.Context, id string) error {
	t, err := e.committed(id)
	if err != nil || t == nil {
		return err
	}
	if err := e.mounted(t); err != nil {
		return err
	}
	e.log(fmt.Sprintf("%s: finishing transaction %s, which was cut short", t.Bundle.ID(), id))
	done, err := e.settled(t)
	if err != nil {
		return err
	}
	if !done {
		return e.finish(ctx, t)
	}
	if err := e.settle(t); err != nil {
		return within(t.Bundle.ID(), "receipt", err)
	}
	e.tidy(t)
	return nil
}

// settled reports whether a committed transaction had come to its receipt: then
// barrier 3 had returned, and all its steps are on the medium. The receipt of an
// inverse that ends what was never finished is often there from the beginning,
// but the commit of what it undoes goes only then.
func (e *engine) settled(t *transaction) (bool, error) {
	if !t.Rollback {
		return e.receiptIs(t)
	}
	_, err := e.d.stat(e.folder(t.Undoes) + "/commit")
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// receiptIs reports whether the receipt of the product is the one that t leaves.
func (e *engine) receiptIs(t *transaction) (bool, error) {
	p, err := e.readAll(e.receiptFile(t), maxReceipt)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t.Receipt == nil, nil
	case errors.Is(err, ErrDamaged):
		return false, nil // longer than any
	case err != nil || t.Receipt == nil:
		return false, err
	}
	want, err := t.Receipt.encode()
	return bytes.Equal(p, want), err
}

// receiptFile returns where the receipt of the product of t lies.
func (e *engine) receiptFile(t *transaction) string {
	return path.Join(e.state, "receipts", fileName(t.Bundle.Product()))
}

// committed returns transaction id, nil if it was not decided on.
func (e *engine) committed(id string) (*transaction, error) {
	p, err := e.readAll(e.folder(id)+"/commit", maxCommit)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
		return nil, nil // one that is torn has never been followed by a step
	}
	if err != nil {
		return nil, err
	}
	want, whole := strings.CutSuffix(string(p), "\n")
	if !whole || !isDigest(want) {
		return nil, nil
	}
	return e.load(id, want)
}

// load reads tx.json, which must have the digest want unless that is empty.
func (e *engine) load(id, want string) (*transaction, error) {
	file := e.folder(id) + "/tx.json"
	p, err := e.readAll(file, maxTransaction)
	if err != nil {
		return nil, err
	}
	if want != "" && digest(p) != want {
		return nil, at(file, damaged("digest mismatch"))
	}
	t, err := decodeTransaction(p)
	if err == nil && t.ID != id {
		err = damaged("it is of transaction %s", t.ID)
	}
	if err != nil {
		return nil, at(file, err)
	}
	return t, nil
}

// mounted reports a volume that a transaction needs and that is not there:
// its steps would go into the folder on which it is mounted.
func (e *engine) mounted(t *transaction) error {
	for _, v := range t.Volumes {
		if !slices.ContainsFunc(e.volumes, func(w volume) bool { return w.top == string(v) }) {
			return at(string(v), errors.New("recovery needs this file system, and it is not mounted"))
		}
	}
	return nil
}

// sweep takes away what no receipt needs.
func (e *engine) sweep(ids []string) error {
	needed, err := e.needed(ids)
	if err != nil {
		e.log(fmt.Sprintf("old transactions are not taken away: %v", err))
		return nil
	}
	for _, id := range ids {
		if !needed[id] {
			if err := e.clean(id); err != nil {
				return err
			}
			continue
		}
		if err := e.unstage(id); err != nil {
			return err
		}
	}
	return nil
}

// unstage takes away the stage of a transaction.
func (e *engine) unstage(id string) error {
	for v := range e.volumes {
		if err := e.removeTree(path.Join(e.side(v, id), "stage")); err != nil {
			return err
		}
	}
	return nil
}

// keptVersions is how many versions of a product can be undone, one after
// another. What older ones changed stays as it is.
const keptVersions = 8

// needed returns those of the transactions that are needed to undo something:
// of each product the one of its receipt, and those before it.
func (e *engine) needed(ids []string) (map[string]bool, error) {
	receipts, err := e.receipts()
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	for i := range receipts {
		r := &receipts[i]
		for n := 0; n < keptVersions && r != nil && slices.Contains(ids, r.Tx) && !needed[r.Tx]; n++ {
			t, err := e.load(r.Tx, "")
			if err != nil {
				return nil, err
			}
			if !t.made(r) {
				break
			}
			needed[r.Tx] = true
			r = t.Previous
		}
	}
	return needed, nil
}

// receipts returns all receipts, ordered by product.
func (e *engine) receipts() ([]Receipt, error) {
	dir := path.Join(e.state, "receipts")
	names, err := e.d.names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Receipt
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") {
			continue // NAME.json.new was never one
		}
		r, err := e.readReceipt(path.Join(dir, name))
		if err != nil {
			return nil, err
		}
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b Receipt) int { return strings.Compare(a.Product(), b.Product()) })
	return list, nil
}

func (e *engine) readReceipt(file string) (*Receipt, error) {
	p, err := e.readAll(file, maxReceipt)
	if err != nil {
		return nil, err
	}
	r, err := DecodeReceipt(p)
	if err == nil && fileName(r.Product()) != path.Base(file) {
		err = damaged("it is of %s", r.Product())
	}
	return r, at(file, err)
}
