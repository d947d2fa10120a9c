package apply

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// files does the steps: section 9.3, step 5. It finds out by itself what is
// done already, so it may begin anywhere and any number of times.
func (e *engine) files(t *transaction) error {
	for i := len(t.Steps) - 1; i >= 0; i-- { // what is in a directory before it
		if err := e.clear(&t.Steps[i]); err != nil {
			return at(string(t.Steps[i].Path), err)
		}
	}
	for i := range t.Steps {
		if err := e.make(t, &t.Steps[i]); err != nil {
			return at(string(t.Steps[i].Path), err)
		}
	}
	for i := len(t.Steps) - 1; i >= 0; i-- { // what is in a directory changes its time
		if err := e.finishStep(&t.Steps[i]); err != nil {
			return at(string(t.Steps[i].Path), err)
		}
	}
	return e.d.barrier(afterFiles, e.used(t))
}

// clear takes away what cannot be replaced by a rename.
func (e *engine) clear(s *step) error {
	if s.Before == nil || s.inPlace() || s.How == nothing || s.After != nil && s.Before.dir() == s.After.dir() {
		return nil
	}
	now, err := e.d.stat(string(s.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if s.After != nil && now.dir() == s.After.dir() {
		return nil
	}
	return e.d.remove(string(s.Path), now.dir())
}

// make makes the directory or puts the file of a step into its place.
func (e *engine) make(t *transaction, s *step) error {
	switch {
	case s.After == nil || s.inPlace() || s.How == nothing:
		return nil
	case s.After.dir():
		return e.makeDir(string(s.Path))
	}
	v := e.volume(string(s.Path))
	from := e.staged(v, t.ID, s.After.Data)
	if there, err := e.same(v, from, string(s.Path)); err != nil || there {
		return err
	}
	beside := from + ".new"
	if err := e.absent(beside); err != nil {
		return err
	}
	if err := e.keep(v, from, beside, s.After); err != nil {
		return err
	}
	return e.d.rename(beside, string(s.Path))
}

func (e *engine) makeDir(path string) error {
	now, err := e.d.stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return e.d.mkdir(path)
	}
	if err == nil && !now.dir() {
		err = fmt.Errorf("%s is in the way", now.name())
	}
	return err
}

// same reports whether the staged file is in its place already. Where files
// have one name only their contents tell.
func (e *engine) same(v int, staged, path string) (bool, error) {
	now, err := e.d.stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	want, err := e.d.stat(staged)
	if err != nil {
		return false, err
	}
	if e.volumes[v].links {
		return now.id == want.id, nil
	}
	if now.Type != File || now.Size != want.Size || now.Time != want.Time {
		return false, nil
	}
	return e.sameContents(staged, path)
}

func (e *engine) sameContents(a, b string) (same bool, err error) {
	f, err := e.d.open(a)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	g, err := e.d.open(b)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	return equalReaders(f, g)
}

// equalReaders compares two readers of the same length.
func equalReaders(f, g io.Reader) (bool, error) {
	p, q := make([]byte, 128<<10), make([]byte, 128<<10)
	for {
		n, err := io.ReadFull(f, p)
		m, err2 := io.ReadFull(g, q)
		if !bytes.Equal(p[:n], q[:m]) {
			return false, nil
		}
		if err == nil && err2 == nil {
			continue
		}
		for _, err := range []error{err, err2} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return false, err
			}
		}
		return true, nil
	}
}

// finishStep gives directories, and what only changes its attributes, all that
// is to be theirs. What has it is not touched: it may be where nothing can be
// changed, which is why we are on the way back.
func (e *engine) finishStep(s *step) error {
	labelled := s.After.kind() == File && s.After.labelOf() != nil // the system may have labelled the undo folder anew
	attributes := s.How == alter || s.How == replace && (s.After.dir() || labelled)
	if !attributes && s.How != touch {
		return nil
	}
	now, err := e.d.stat(string(s.Path))
	if err != nil {
		return err
	}
	if now.Time == s.After.Time && (!attributes || now.differs(s.After) == "" && !now.relabels(s.After)) {
		return nil
	}
	if attributes {
		return e.d.attributes(string(s.Path), s.After)
	}
	return e.d.setTime(string(s.Path), s.After.Time)
}
