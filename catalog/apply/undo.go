package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// undo takes products off: section 9.4.
func (e *engine) undo(ctx context.Context, products []string, force bool) error {
	receipts, err := e.receipts()
	if err != nil {
		return err
	}
	var chosen []Receipt
	for _, product := range products {
		i := slices.IndexFunc(receipts, func(r Receipt) bool { return r.Product() == product })
		if i < 0 {
			return within(product, "undo", ErrNotApplied)
		}
		chosen = append(chosen, receipts[i])
	}
	slices.SortFunc(chosen, func(a, b Receipt) int { return strings.Compare(b.Tx, a.Tx) })
	for i := range chosen {
		if err := e.undoOne(ctx, &chosen[i], force); err != nil {
			return within(chosen[i].Ident().String(), "undo", err)
		}
	}
	return nil
}

// undoOne takes off what one receipt says.
func (e *engine) undoOne(ctx context.Context, r *Receipt, force bool) error {
	t, err := e.load(r.Tx, "")
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("what is needed to undo it is not on the root any more")
	}
	if err != nil {
		return err
	}
	if err := e.mounted(t); err != nil {
		return err
	}
	if err := e.notLater(r, t); err != nil {
		return err
	}
	back, sources, err := e.inverse(t)
	if err != nil {
		return err
	}
	if err := e.unchanged(ctx, back, force); err != nil {
		return err
	}
	return e.run(ctx, back, sources)
}

// notLater refuses if a bundle that came later changed the same path: its own
// undo would bring back what this one has made.
func (e *engine) notLater(r *Receipt, t *transaction) error {
	receipts, err := e.receipts()
	if err != nil {
		return err
	}
	mine := map[Name]bool{}
	for _, s := range t.Steps {
		if s.How != touch {
			mine[s.Path] = true
		}
	}
	for _, other := range receipts {
		if other.Tx <= r.Tx {
			continue
		}
		for _, p := range other.Paths {
			if mine[p.Path] {
				return at(string(p.Path), fmt.Errorf("%w: %s changed it, too, and has to be undone first", ErrChanged, other.Ident()))
			}
		}
	}
	return nil
}

// unchanged refuses if the disk is not as the steps of an inverse expect it, or
// makes them fit if that is what is wanted.
func (e *engine) unchanged(ctx context.Context, back *transaction, force bool) error {
	var kept []step
	for i := range back.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := &back.Steps[i]
		fits, err := e.expected(s)
		if err != nil {
			return at(string(s.Path), err)
		}
		switch {
		case fits:
			kept = append(kept, *s)
		case s.How == touch: // somebody else was in the directory: the time is theirs
		case !force:
			return at(string(s.Path), ErrChanged)
		default:
			list, err := e.forced(s)
			if err != nil {
				return at(string(s.Path), err)
			}
			kept = append(kept, list...)
		}
	}
	slices.SortFunc(kept, func(a, b step) int { return strings.Compare(string(a.Path), string(b.Path)) })
	back.Steps = slices.CompactFunc(kept, func(a, b step) bool { return a.Path == b.Path })
	return e.parentsThere(back)
}

// expected reports whether a path is what a step of an inverse begins with.
func (e *engine) expected(s *step) (bool, error) {
	now, err := e.now(string(s.Path))
	if err != nil {
		return false, err
	}
	if s.How == touch {
		return now.dir() && now.Time == s.Before.Time, nil
	}
	if now.differs(s.Before) != "" {
		return false, nil
	}
	if now.kind() == File && s.Before.SHA256 != "" {
		got, err := hashFile(e.d, string(s.Path))
		return got == s.Before.SHA256, err
	}
	if now.dir() && !s.After.dir() {
		return true, nil // what is in it is asked for by itself
	}
	return true, nil
}

// forced returns the steps that bring a path, which is not what was expected,
// to where s leads.
func (e *engine) forced(s *step) ([]step, error) {
	now, err := e.now(string(s.Path))
	if err != nil {
		return nil, err
	}
	if now == nil && s.After == nil {
		return nil, nil
	}
	s.Before, s.How = now, replace
	if now.dir() && s.After.dir() {
		s.How = alter
	}
	return []step{*s}, nil
}

// parentsThere reports a path whose directory somebody has taken away.
func (e *engine) parentsThere(t *transaction) error {
	made := map[string]bool{}
	for i := range t.Steps {
		s := &t.Steps[i]
		made[string(s.Path)] = s.After.dir()
		dir := path.Dir(string(s.Path))
		if s.After == nil || made[dir] || dir == "." {
			continue
		}
		now, err := e.now(dir)
		if err != nil || !now.dir() {
			return at(string(s.Path), errors.Join(err, fmt.Errorf("%w: %s is %s", ErrChanged, dir, now.name())))
		}
	}
	return nil
}
