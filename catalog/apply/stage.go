package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"unicode/utf8"
)

// A source gives the contents of a new file: a reader, or a file of the same
// volume that is to be linked.
type source struct {
	open    func() (io.ReadCloser, error)
	link    string
	checked bool // reading ends with an error if the contents do not have their digest
}

// stage writes everything that a transaction needs, and changes nothing else:
// section 9.3, step 3. sources has one for every number of a file to be.
func (e *engine) stage(ctx context.Context, t *transaction, sources map[int]source) error {
	if err := e.prepare(); err != nil {
		return err
	}
	t.Volumes = nil
	for _, v := range e.used(t) {
		t.Volumes = append(t.Volumes, Name(e.volumes[v].top))
		for _, dir := range []string{"", "stage", "undo"} {
			if err := e.ensureDir(path.Join(e.side(v, t.ID), dir), 0o700); err != nil {
				return err
			}
		}
	}
	done := map[string]*Node{} // several names of one file have one number
	for i := range t.Steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := e.stageStep(t, &t.Steps[i], sources, done); err != nil {
			return at(string(t.Steps[i].Path), err)
		}
	}
	if t.Receipt != nil && t.Undoes == "" {
		t.Receipt.Paths = changed(t.Steps) // with the digests that are known by now
	}
	p, err := t.readable()
	if err != nil {
		return err
	}
	if err := e.put(e.folder(t.ID)+"/tx.json", p); err != nil {
		return err
	}
	return e.d.barrier(afterStage, e.used(t))
}

// readable returns tx.json, and an error if it, or the receipt, could not be
// read again: whatever is committed must be, or the root could never be
// recovered.
func (t *transaction) readable() ([]byte, error) {
	for i := range t.Steps {
		for _, n := range []*Node{t.Steps[i].Before, t.Steps[i].After} {
			if err := n.textAttributes(); err != nil {
				return nil, at(string(t.Steps[i].Path), err)
			}
		}
	}
	p, err := t.encode()
	if err != nil {
		return nil, err
	}
	most := maxTransaction
	if t.Undoes == "" {
		most -= inverseGrows // what undoes it must fit
	}
	if !t.Rollback {
		most -= inverseGrows // and what takes that back
	}
	if len(p) > most {
		return nil, fmt.Errorf("%d paths change, of which the journal has %d bytes, %d at most: make several bundles of it", len(t.Steps), len(p), most)
	}
	if t.Receipt != nil {
		r, err := t.Receipt.encode()
		if err == nil && len(r) > maxReceipt {
			err = fmt.Errorf("%d paths change, of which the receipt has %d bytes, %d at most: make several bundles of it", len(t.Steps), len(r), maxReceipt)
		}
		if err == nil {
			_, err = DecodeReceipt(r)
		}
		if err != nil {
			return nil, fmt.Errorf("the receipt could not be read again: %w", err)
		}
	}
	if _, err := decodeTransaction(p); err != nil {
		return nil, fmt.Errorf("the journal could not be read again: %w", err)
	}
	return p, nil
}

// textAttributes reports an extended attribute whose name JSON cannot have.
func (n *Node) textAttributes() error {
	if n == nil {
		return nil
	}
	for _, x := range n.Xattrs {
		if !utf8.ValidString(x.Name) {
			return fmt.Errorf("extended attribute %q: its name is no UTF-8, which the journal cannot keep", x.Name)
		}
	}
	return nil
}

// stageStep lays the new file of a step into the stage, and the old one into
// the undo folder.
func (e *engine) stageStep(t *transaction, s *step, sources map[int]source, done map[string]*Node) error {
	v := e.volume(string(s.Path))
	if s.Before != nil && s.Before.Data > 0 {
		if to := e.undone(v, t.ID, s.Before.Data); done[to] == nil {
			done[to] = s.Before
			if err := e.keep(v, string(s.Path), to, s.Before); err != nil {
				return err
			}
		}
	}
	if s.After == nil || s.After.Data == 0 {
		return nil
	}
	to := e.staged(v, t.ID, s.After.Data)
	src := sources[s.After.Data]
	if first := done[to]; first != nil {
		s.After.SHA256 = first.SHA256
		return nil
	}
	done[to] = s.After
	if err := e.lay(v, to, src, s.After); err != nil {
		return err
	}
	return nil
}

// keep makes a second name for the file at from, or a copy where there are no
// second names.
func (e *engine) keep(v int, from, to string, n *Node) error {
	if e.volumes[v].links {
		return e.d.link(from, to)
	}
	return e.copyFile(from, to, n)
}

func (e *engine) copyFile(from, to string, n *Node) error {
	if n.Type != File {
		return fmt.Errorf("%s on %s cannot be kept", n.name(), e.volumes[e.volume(to)].kind)
	}
	f, err := e.d.open(from)
	if err != nil {
		return err
	}
	return errors.Join(e.d.write(to, f, n), f.Close())
}

// lay makes the file n at to. The digest of its contents is checked, or set if
// nobody knows it yet.
func (e *engine) lay(v int, to string, src source, n *Node) error {
	switch {
	case src.link != "":
		return e.keep(v, src.link, to, n)
	case n.Type == Symlink:
		return e.d.symlink(to, n)
	case n.Type != File:
		return fmt.Errorf("%s cannot be made", n.name())
	}
	r, err := src.open()
	if err != nil {
		return err
	}
	if src.checked {
		return errors.Join(e.d.write(to, r, n), r.Close())
	}
	sum, length := sha256.New(), &counter{}
	err = errors.Join(e.d.write(to, io.TeeReader(r, io.MultiWriter(sum, length)), n), r.Close())
	if err != nil {
		return err
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if n.SHA256 != "" && n.SHA256 != got || length.n != n.Size {
		return fmt.Errorf("contents are not those that were announced: %d bytes with digest %s", length.n, got)
	}
	n.SHA256 = got
	return nil
}

// A counter counts what is written to it.
type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}

// commit decides that the transaction happens: section 9.3, step 4.
func (e *engine) commit(t *transaction) error {
	p, err := t.encode()
	if err != nil {
		return err
	}
	if err := e.put(e.folder(t.ID)+"/commit", []byte(digest(p)+"\n")); err != nil {
		return err
	}
	return e.d.barrier(afterCommit, []int{e.at})
}
