package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"slipcast/catalog/bundle"
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
	if errors.Is(err, fs.ErrNotExist) || err == nil && !t.made(r) {
		return ErrNoUndo
	}
	if err != nil {
		return err
	}
	if t.Bundle.Rollback == bundle.Reimage {
		return ErrReimage
	}
	if err := e.mounted(t); err != nil {
		return err
	}
	receipts, err := e.receipts()
	if err != nil {
		return err
	}
	if err := notLater(r, t, receipts); err != nil {
		return err
	}
	back, sources, err := e.inverse(t, receipts)
	if err != nil {
		return err
	}
	if err := e.unchanged(ctx, back, force); err != nil {
		return err
	}
	if err := cmp.Or(e.writable(back), e.reachable(back), e.room(back, bundle.Needs{}, false)); err != nil {
		return err
	}
	return e.run(ctx, back, sources)
}

// notLater refuses if a bundle that came later changed the same path: its own
// undo would bring back what this one has made.
func notLater(r *Receipt, t *transaction, receipts []Receipt) error {
	mine := map[Name]bool{}
	for _, s := range t.Steps {
		if s.How != touch {
			mine[spelled(t.Bundle.Family, s.Path)] = true
		}
	}
	for _, other := range receipts {
		if other.Tx <= r.Tx {
			continue
		}
		for _, p := range other.Paths {
			if mine[spelled(t.Bundle.Family, p.Path)] {
				return at(string(p.Path), fmt.Errorf("%w: %s changed it, too, and has to be undone first", ErrChanged, other.Ident()))
			}
		}
	}
	return nil
}

// unchanged refuses if the disk is not as the steps of an inverse expect it, or
// makes them fit if that is what is wanted.
func (e *engine) unchanged(ctx context.Context, back *transaction, force bool) error {
	u := &undoing{engine: e, family: back.Bundle.Family, known: map[Name]bool{}, force: force}
	for i := range back.Steps {
		u.known[spelled(u.family, back.Steps[i].Path)] = true
		for _, n := range []*Node{back.Steps[i].Before, back.Steps[i].After} {
			if n != nil {
				u.numbers = max(u.numbers, n.Data)
			}
		}
	}
	var kept []step
	for i := range back.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		list, err := u.fit(&back.Steps[i])
		if err != nil {
			return at(string(back.Steps[i].Path), err)
		}
		kept = append(kept, list...)
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
		return now.dir() && now.Time.is(s.Before.Time), nil
	}
	if now.differs(s.Before) != "" {
		return false, nil
	}
	if now.kind() == File && s.Before.SHA256 != "" {
		got, err := hashFile(e.d, string(s.Path))
		return got == s.Before.SHA256, err
	}
	return true, nil
}

// An undoing makes the steps of an inverse fit what is on the disk.
type undoing struct {
	*engine
	family  string
	known   map[Name]bool // paths of all steps, as spelled has them
	numbers int           // the highest that a file has
	force   bool
}

// fit returns the steps that lead a path to where s leads: s itself if nobody
// changed it since.
func (u *undoing) fit(s *step) ([]step, error) {
	fits, err := u.expected(s)
	if err != nil {
		return nil, err
	}
	if s.How == touch && !fits {
		return nil, nil // somebody else was in the directory: the time is theirs
	}
	if !fits && !u.force {
		return nil, ErrChanged
	}
	if !fits {
		if err := u.refit(s); err != nil {
			return nil, err
		}
	}
	if s.Before == nil && s.After == nil {
		return nil, nil
	}
	if !s.Before.dir() || s.After.dir() {
		return []step{*s}, nil
	}
	list, err := u.extra(string(s.Path))
	return append(list, *s), err
}

// refit makes a step begin with what somebody else has made of its path. A file
// of which only attributes were changed has no other contents to go back to: it
// keeps those that it has, with their time.
func (u *undoing) refit(s *step) error {
	now, err := u.now(string(s.Path))
	if err != nil {
		return err
	}
	before := s.Before
	s.Before = now
	switch {
	case now.dir() && s.After.dir():
		s.How = alter
	case s.How != alter || s.After.dir():
		s.How = replace
		u.keepOld(s)
	case now.kind() != File:
		return fmt.Errorf("%w: it is %s, and what the file was is not kept, since only its attributes were changed: put a file there first", ErrChanged, now.name())
	default:
		s.After.Size, s.After.SHA256 = now.Size, ""
		if !now.Time.is(before.Time) {
			s.After.Time = now.Time
		}
	}
	return nil
}

// keepOld gives the file that a step replaces a number, so that going back is
// possible.
func (u *undoing) keepOld(s *step) {
	if s.Before != nil && !s.Before.dir() {
		u.numbers++
		s.Before.Data = u.numbers
	}
}

// extra returns the steps that take away what somebody has put into a
// directory that is to go.
func (u *undoing) extra(dir string) ([]step, error) {
	names, err := u.d.names(dir)
	if err != nil {
		return nil, err
	}
	var list []step
	for _, name := range names {
		s := step{Path: Name(path.Join(dir, name))}
		if u.known[spelled(u.family, s.Path)] {
			continue
		}
		if !u.force {
			return nil, at(string(s.Path), fmt.Errorf("%w: it is not of the bundle, and lies in a directory that is", ErrChanged))
		}
		if s.Before, err = u.now(string(s.Path)); err != nil {
			return nil, err
		}
		u.keepOld(&s)
		if s.Before.dir() {
			below, err := u.extra(string(s.Path))
			if err != nil {
				return nil, err
			}
			list = append(list, below...)
		}
		list = append(list, s)
	}
	return list, nil
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
