package apply

import (
	"fmt"
	"path"

	"slipcast/catalog/bundle"
)

// A cost is what is taken of a volume.
type cost struct{ bytes, inodes int64 }

// A bill is what a transaction takes of a volume, at most: until the commit,
// and after it, be it on the way to the new tree or back to the old one.
type bill struct{ stage, after cost }

// room reports a file system without room for a transaction that has not begun:
// to its end, and back from wherever it fails. With spare, what the bundle
// needs and 5 % of it must stay free, too.
func (e *engine) room(t *transaction, needs bundle.Needs, spare bool) error {
	bills, err := e.bills(t)
	if err != nil {
		return err
	}
	bills[e.volume(".")].stage.add(needs.Bytes, needs.Inodes)
	for v, b := range bills {
		b.stage.add(b.after.bytes, b.after.inodes)
		if err := e.has(v, b.stage, spare); err != nil {
			return err
		}
	}
	return nil
}

// roomAfter is room for a transaction that is staged and may be committed: how
// much the stage took is known by now.
func (e *engine) roomAfter(t *transaction) error {
	bills, err := e.bills(t)
	if err != nil {
		return err
	}
	for v, b := range bills {
		if err := e.has(v, b.after, false); err != nil {
			return err
		}
	}
	return nil
}

func (c *cost) add(bytes, inodes int64) {
	c.bytes += bytes
	c.inodes += inodes
}

// has reports a volume that does not have c. What only root may take is there
// for all but what is to stay free.
func (e *engine) has(v int, c cost, spare bool) error {
	if c == (cost{}) {
		return nil
	}
	s, err := e.d.space(v)
	if err != nil {
		return err
	}
	note := ""
	if spare {
		c.add(s.total/20, s.totalInodes/20)
		note = ", 5 % of the file system among them"
	} else {
		s.free += s.reserved
	}
	switch {
	case s.free < c.bytes:
		err = fmt.Errorf("%w: %d bytes are free, %d are needed%s", ErrNoSpace, s.free, c.bytes, note)
	case s.totalInodes > 0 && s.freeInodes < c.inodes:
		err = fmt.Errorf("%w: %d inodes are free, %d are needed%s", ErrNoSpace, s.freeInodes, c.inodes, note)
	}
	return at("/"+e.volumes[v].top, err)
}

// bills returns what a transaction takes of each volume.
func (e *engine) bills(t *transaction) ([]bill, error) {
	c := &costs{engine: e, t: t, bills: make([]bill, len(e.volumes)), block: make([]int64, len(e.volumes)), largest: make([]int64, len(e.volumes)), seen: map[string]bool{}}
	for _, v := range e.used(t) {
		s, err := e.d.space(v)
		if err != nil {
			return nil, err
		}
		c.block[v] = max(s.block, 4096)
		c.bills[v].stage.add(8*c.block[v], 8) // folders of the state, and of the transaction
		c.bills[v].after.add(4*c.block[v], 4) // folders of its inverse
	}
	if err := c.journal(); err != nil {
		return nil, err
	}
	for i := range t.Steps {
		c.step(&t.Steps[i])
	}
	for v := range c.bills {
		c.bills[v].after.bytes += c.largest[v]
	}
	return c.bills, nil
}

// A costs adds up what a transaction takes.
type costs struct {
	*engine
	t       *transaction
	bills   []bill
	block   []int64 // of each volume: what a file takes at least
	largest []int64 // of the files that are replaced, where each needs a copy
	seen    map[string]bool
}

// journal adds tx.json, commit and the receipt, and those of the inverse.
func (c *costs) journal() error {
	p, err := c.t.encode()
	if err != nil {
		return err
	}
	receipt := 0
	for _, r := range []*Receipt{c.t.Receipt, c.t.Previous} {
		if r == nil {
			continue
		}
		q, err := r.encode()
		if err != nil {
			return err
		}
		receipt = max(receipt, len(q))
	}
	digests := len(c.t.Steps) * 160 // in either, that are not known before the stage
	tx, block := int64(len(p)+digests)+c.block[c.at], c.block[c.at]
	c.bills[c.at].stage.add(tx, 1)
	c.bills[c.at].after.add(tx+2*(int64(receipt+digests)+2*block), 6)
	return nil
}

// step adds what one step takes.
func (c *costs) step(s *step) {
	if s.inPlace() || s.How == nothing {
		return
	}
	v := c.volume(string(s.Path))
	b := &c.bills[v]
	b.stage.bytes += 128                                           // names in the stage and the undo folder
	b.after.bytes += 128 + 3*int64(len(path.Base(string(s.Path)))) // beside, in the stage of the inverse, and in the place
	if dir := path.Dir(string(s.Path)); !c.seen[dir] {
		c.seen[dir] = true
		b.after.bytes += 2 * c.block[v] // a directory grows by whole blocks
	}
	if s.After.dir() && !s.Before.dir() {
		b.after.add(c.size(v, s.After), 1)
	}
	if !c.volumes[v].links {
		c.copies(v, s)
	}
	if s.After == nil || s.After.Data == 0 || c.t.Undoes != "" && c.volumes[v].links {
		return // the last: it has the file in its undo folder, and links it
	}
	if key := c.staged(v, c.t.ID, s.After.Data); !c.seen[key] {
		c.seen[key] = true
		b.stage.add(c.size(v, s.After), 1)
	}
}

// copies adds what is copied where there are no hard links: what is replaced,
// for undoing and once more for the stage of the inverse; and, beside the place,
// one file at a time, so that all together take what the files grow by and the
// largest of those that are replaced.
func (c *costs) copies(v int, s *step) {
	b, old := &c.bills[v], int64(0)
	if s.Before != nil && s.Before.Data > 0 {
		old = c.size(v, s.Before)
		b.stage.add(old, 1)
		b.after.add(old, 1)
		c.largest[v] = max(c.largest[v], old)
	}
	if s.After != nil && s.After.Data > 0 {
		b.after.add(max(0, c.size(v, s.After)-old), 1)
	}
}

// size returns what a file or directory takes of a volume.
func (c *costs) size(v int, n *Node) int64 {
	blocks := max(1, (n.Size+c.block[v]-1)/c.block[v])
	if len(n.Xattrs) > 0 {
		blocks++
	}
	return blocks * c.block[v]
}
