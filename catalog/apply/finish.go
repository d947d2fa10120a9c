package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// run does a transaction from the first write to the last one. On an error the
// tree is as it was, unless the error says that recovery is needed.
func (e *engine) run(ctx context.Context, t *transaction, sources map[int]source) error {
	id := t.Bundle.ID()
	err := e.stage(ctx, t, sources)
	if err == nil && !t.Rollback { // that one has no other choice than to try
		err = e.roomAfter(t)
	}
	if err != nil {
		return within(id, "staging", errors.Join(err, e.drop(t.ID)))
	}
	if err := e.commit(t); err != nil {
		return within(id, "commit", errors.Join(err, e.drop(t.ID)))
	}
	return e.finish(context.WithoutCancel(ctx), t)
}

// finish brings a transaction that is committed to its end: to the new tree,
// or, if that cannot be, back to the old one.
func (e *engine) finish(ctx context.Context, t *transaction) error {
	step, err := e.forward(ctx, t)
	if err == nil {
		e.tidy(t)
		return nil
	}
	if !t.Rollback {
		if back := e.rollback(ctx, t); back != nil {
			err = errors.Join(err, fmt.Errorf("the root is half changed and has to be recovered: %w", back))
		}
	}
	return within(t.Bundle.ID(), step, err)
}

// forward does steps 5 to 7 of section 9.3, and says which of them an error is
// of.
func (e *engine) forward(ctx context.Context, t *transaction) (step string, err error) {
	if err := e.files(t); err != nil {
		return "files", err
	}
	if err := e.check(ctx, t); err != nil {
		return "verify", err
	}
	return "receipt", e.settle(t)
}

// check looks whether the steps are done, and asks detection.
func (e *engine) check(ctx context.Context, t *transaction) error {
	for i := range t.Steps {
		if err := e.done(&t.Steps[i]); err != nil {
			return at(string(t.Steps[i].Path), err)
		}
	}
	if e.verify == nil || t.Undoes != "" {
		return nil
	}
	return e.verify(ctx, t)
}

// done reports a step that was not done.
func (e *engine) done(s *step) error {
	if s.How == touch {
		return nil
	}
	now, err := e.now(string(s.Path))
	if err != nil {
		return err
	}
	if how := now.differs(s.After); how != "" {
		return fmt.Errorf("%w: %s", ErrVerify, how)
	}
	return nil
}

// now returns what lies at path, nil for nothing.
func (e *engine) now(path string) (*Node, error) {
	st, err := e.d.stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &st.Node, nil
}

// settle makes the receipt say what is true now: section 9.3, step 7.
func (e *engine) settle(t *transaction) error {
	if err := e.writeReceipt(t); err != nil {
		return err
	}
	if t.Rollback {
		if err := e.absent(e.folder(t.Undoes) + "/commit"); err != nil {
			return err
		}
	}
	return e.d.barrier(afterReceipt, []int{e.at})
}

func (e *engine) writeReceipt(t *transaction) error {
	if done, err := e.receiptIs(t); err == nil && done {
		return nil // written anew, a power cut could tear it
	}
	if t.Receipt == nil {
		return e.absent(e.receiptFile(t))
	}
	p, err := t.Receipt.encode()
	if err != nil {
		return err
	}
	return e.put(e.receiptFile(t), p)
}

// tidy ends a transaction of which all is done and known to be. What is left
// over is taken away by the next recovery, if it cannot be now.
func (e *engine) tidy(t *transaction) {
	if err := e.end(t); err != nil {
		e.log(fmt.Sprintf("%s: cleaning up is left for later: %v", t.Bundle.ID(), err))
	}
}

// end makes the transaction one that nobody does again, and takes away what it
// does not need any more.
func (e *engine) end(t *transaction) error {
	if err := e.closeTransaction(t.ID); err != nil {
		return err
	}
	if t.Undoes != "" {
		return errors.Join(e.clean(t.ID), e.clean(t.Undoes))
	}
	for v := range e.volumes {
		if err := e.removeTree(path.Join(e.side(v, t.ID), "stage")); err != nil {
			return err
		}
	}
	return nil
}

// closeTransaction takes the commit away.
func (e *engine) closeTransaction(id string) error {
	if err := e.absent(e.folder(id) + "/commit"); err != nil {
		return err
	}
	return e.d.barrier(afterEnd, []int{e.at})
}

// drop takes away a transaction of which no step was done.
func (e *engine) drop(id string) error {
	_, err := e.d.stat(e.folder(id) + "/commit")
	if err == nil {
		err = e.closeTransaction(id)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return e.clean(id)
}

// clean takes away all files of a transaction.
func (e *engine) clean(id string) error {
	for v := range slices.Backward(e.volumes) {
		if err := e.removeTree(e.side(v, id)); err != nil {
			return err
		}
		if err := e.removeSide(v); err != nil {
			return err
		}
	}
	return nil
}

// removeSide takes away the folder .slipcast of a volume if nothing is in it,
// without a trace in the time of the folder that it lay in.
func (e *engine) removeSide(v int) error {
	if v == e.at {
		return nil
	}
	dir := path.Dir(e.side(v, "0"))
	names, err := e.d.names(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	top, err := e.d.stat(path.Dir(dir))
	if err != nil {
		return err
	}
	if err := e.d.remove(dir, true); err != nil {
		return err
	}
	return e.d.setTime(path.Dir(dir), top.Time)
}

// removeTree takes away a folder of the state with all that is in it. What is
// not there is no error.
func (e *engine) removeTree(dir string) error {
	names, err := e.d.names(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		child := path.Join(dir, name)
		err := e.d.remove(child, false)
		if errors.Is(err, errIsDir) {
			err = e.removeTree(child)
		}
		if err != nil {
			return err
		}
	}
	return e.d.remove(dir, true)
}

// rollback does the inverse of a transaction that is committed and cannot be
// finished.
func (e *engine) rollback(ctx context.Context, t *transaction) error {
	ids, err := e.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if id > t.ID { // a rollback that was cut short: this one needs its room
			if err := e.unstage(id); err != nil {
				return err
			}
		}
	}
	back, sources, err := e.inverse(t, nil) // that of t is higher than those of all receipts
	if err != nil {
		return err
	}
	back.Rollback = true
	for i := range back.Steps {
		if before := back.Steps[i].Before; before != nil {
			before.Data = 0 // it may not be there, and nobody will go forward again
		}
	}
	return e.run(ctx, back, sources)
}

// inverse returns the transaction that undoes t, with the files that it needs.
// It keeps what it replaces, too. receipts are those that its number is to be
// higher than.
func (e *engine) inverse(t *transaction, receipts []Receipt) (*transaction, map[int]source, error) {
	id, err := e.next(receipts)
	if err != nil {
		return nil, nil, err
	}
	back := &transaction{Schema: 1, ID: id, Bundle: t.Bundle, Undoes: t.ID, Receipt: t.Previous, Previous: t.Receipt}
	sources := map[int]source{}
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.How == nothing {
			continue
		}
		inv := s.inverse()
		if inv.Before != nil {
			inv.Before.Data = s.After.Data // numbers of undo/ this time, not of stage/
		}
		if s.Before != nil && s.Before.Data > 0 {
			n := s.Before.Data
			inv.After.Data = n
			sources[n] = source{link: e.undone(e.volume(string(s.Path)), t.ID, n)}
		}
		back.Steps = append(back.Steps, inv)
	}
	return back, sources, nil
}
