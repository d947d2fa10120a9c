package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"slipcast/catalog/root"
)

// A planner turns a draft into the steps of a transaction.
type planner struct {
	*draft
	time    Time // of what is laid, if nothing else is said
	sources map[int]source
	numbers map[string]int // of new files, by the path of their first name
	old     map[fileID]int // of old ones
	changed map[string]bool
	labels  map[string][]byte // of directories
}

// steps returns what has to be done to make a disk the draft, ordered by path,
// with the sources of its new files. now is the time that what is laid has if
// nothing else is said.
func (t *draft) steps(ctx context.Context, now Time) ([]step, map[int]source, error) {
	p := &planner{draft: t, time: now, sources: map[int]source{}, numbers: map[string]int{}, old: map[fileID]int{}, changed: map[string]bool{}, labels: map[string][]byte{}}
	if err := p.mark(ctx); err != nil {
		return nil, nil, err
	}
	var steps []step
	for _, path := range slices.Sorted(maps.Keys(t.wants)) {
		s, err := p.step(path, t.wants[path])
		if err != nil {
			return nil, nil, at(path, err)
		}
		if s != nil {
			steps = append(steps, *s)
		}
	}
	steps, err := p.touched(steps)
	slices.SortFunc(steps, func(a, b step) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return steps, p.sources, err
}

// mark finds out which files are not as they are wanted. If one name of a file
// is not, all of its names have to be made new.
func (p *planner) mark(ctx context.Context) error {
	for name, w := range p.wants {
		if err := ctx.Err(); err != nil {
			return err
		}
		first := name
		if w.same != "" {
			first = w.same
		}
		if w.node == nil || w.node.dir() || p.changed[first] {
			continue
		}
		is, err := p.is(name, first, w)
		if err != nil {
			return at(name, err)
		}
		if !is {
			p.changed[first] = true
		}
	}
	return nil
}

// is reports whether name is on the disk what it is wanted to be, times aside,
// or can be made so by a change of attributes alone.
func (p *planner) is(name, first string, w *want) (bool, error) {
	now, err := p.d.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if name != first {
		other, err := p.d.stat(first)
		return err == nil && other.id == now.id, nil
	}
	v := p.volumes[volumeOf(p.volumes, name)]
	want := fit(w.node, v)
	switch {
	case now.Type != want.Type || now.Link != want.Link || now.Size != want.Size:
		return false, nil
	case (now.attributesDiffer(want) != "" || now.relabels(want)) && (now.Type != File || now.links > 1):
		return false, nil
	case now.Type != File:
		return w.node.Time == Time{} || w.node.Time == now.Time, nil
	case w.inside:
		return true, nil
	}
	return p.contents(name, w)
}

// contents compares the contents of a file with those that are wanted.
func (p *planner) contents(name string, w *want) (bool, error) {
	got, err := hashFile(p.d, name)
	if err != nil || w.node.SHA256 != "" {
		return got == w.node.SHA256, err
	}
	r, err := w.src.open()
	if err != nil {
		return false, err
	}
	want, err := hash(r)
	return got == want, err
}

func hashFile(d look, name string) (string, error) {
	r, err := d.open(name)
	if err != nil {
		return "", err
	}
	return hash(r)
}

// hash returns the digest of all that r has, and closes it.
func hash(r io.ReadCloser) (string, error) {
	sum := sha256.New()
	_, err := io.Copy(sum, r)
	return hex.EncodeToString(sum.Sum(nil)), errors.Join(err, r.Close())
}

// fit returns n as a volume can keep it.
func fit(n *Node, v volume) *Node {
	c := *n
	if !v.owners {
		c.Mode, c.UID, c.GID = 0, 0, 0
	}
	return &c
}

// step returns what has to be done at name, nil for nothing.
func (p *planner) step(name string, w *want) (*step, error) {
	v := volumeOf(p.volumes, name)
	st, err := p.d.stat(name)
	before := &st.Node
	switch {
	case errors.Is(err, fs.ErrNotExist):
		before = nil
	case err != nil:
		return nil, err
	}
	if w.node == nil && before == nil {
		return nil, nil
	}
	s := &step{Path: Name(name), Before: before, Own: w.own}
	if w.node != nil {
		if err := takes(p.volumes, name, w); err != nil {
			return nil, err
		}
		if before == nil { // what is there already, its file system took
			if err := (&root.Filesystem{Type: p.volumes[v].kind}).CheckName(path.Base(name)); err != nil {
				return nil, err
			}
		}
		s.After = fit(w.node, p.volumes[v])
		if s.After.Time == (Time{}) {
			s.After.Time = p.time
		}
		if err := p.labelStep(s, w); err != nil {
			return nil, err
		}
	}
	return p.number(s, w, st)
}

// labelStep gives what a step lays its label, if nobody asks for one. All names
// of a file have one label.
func (p *planner) labelStep(s *step, w *want) error {
	if s.After.labelOf() != nil || !p.volumes[volumeOf(p.volumes, string(s.Path))].xattrs {
		return nil
	}
	first := string(s.Path)
	if w.same != "" {
		if first = w.same; p.wants[first] == nil {
			return nil // a file that stays as it is
		}
	}
	label, err := p.labelOf(first)
	if err == nil && label != nil {
		s.After.label(label)
	}
	return err
}

// takes reports what a volume cannot keep.
func takes(volumes []volume, name string, w *want) error {
	v := volumes[volumeOf(volumes, name)]
	switch {
	case v.top == name:
		return fmt.Errorf("%w: a file system is mounted there", ErrConflict)
	case w.same != "" && !v.links:
		return fmt.Errorf("%s has no hard links", v.kind)
	case w.same != "" && volumeOf(volumes, w.same) != volumeOf(volumes, name):
		return fmt.Errorf("%s is on another file system: a hard link cannot lead there", w.same)
	case w.node.Type == Symlink && !v.links:
		return fmt.Errorf("%s has no symbolic links", v.kind)
	case len(w.node.Xattrs) > 0 && !v.xattrs:
		return fmt.Errorf("%s has no extended attributes", v.kind)
	}
	return nil
}

// number decides how a step is done, and gives its files their numbers.
func (p *planner) number(s *step, w *want, st stat) (*step, error) {
	if s.After.dir() && s.Before.dir() {
		s.How = alter
		s.Before.Data, s.After.Data = 0, 0
		if s.Before.attributesDiffer(s.After) == "" && !s.Before.relabels(s.After) && (w.node.Time == Time{} || s.Before.Time == w.node.Time) {
			return p.unchanged(s, w)
		}
		return s, nil
	}
	first := string(s.Path)
	if w.same != "" {
		first = w.same
	}
	if s.After != nil && !s.After.dir() && !p.changed[first] {
		return p.inPlace(s, w)
	}
	if s.Before != nil && !s.Before.dir() {
		if p.old[st.id] == 0 {
			p.old[st.id] = len(p.old) + 1
		}
		s.Before.Data = p.old[st.id]
	}
	if s.After != nil && !s.After.dir() {
		if p.numbers[first] == 0 {
			n := len(p.numbers) + 1
			p.numbers[first] = n
			p.sources[n] = source{link: first} // to a file that stays as it is
			if w := p.wants[first]; w != nil {
				p.sources[n] = w.src
			}
		}
		s.After.Data = p.numbers[first]
	}
	return s, nil
}

// inPlace is number for a file that has the contents that it is to have.
func (p *planner) inPlace(s *step, w *want) (*step, error) {
	s.How = alter
	if w.node.Time == (Time{}) {
		s.After.Time = s.Before.Time
	}
	if s.Before.attributesDiffer(s.After) == "" && !s.Before.relabels(s.After) && s.Before.Time == s.After.Time {
		return p.unchanged(s, w)
	}
	if s.After.Type != File { // a link has no attributes that could be changed safely
		return p.unchanged(s, w)
	}
	return s, nil
}

// unchanged is number for what is as it is to be.
func (p *planner) unchanged(s *step, w *want) (*step, error) {
	if !w.keep {
		return nil, nil
	}
	s.How, s.After = nothing, s.Before
	return s, nil
}

// touched adds the directories whose times change because of what happens in
// them. They get the time of what is laid, so that the same bundle gives the
// same tree.
func (p *planner) touched(steps []step) ([]step, error) {
	index := map[string]*step{}
	for i := range steps {
		index[string(steps[i].Path)] = &steps[i]
	}
	add := map[string]step{}
	for i := range steps {
		s := &steps[i]
		dir := path.Dir(string(s.Path))
		if s.inPlace() || s.How == nothing || index[dir] != nil || dir == "." {
			continue
		}
		if _, there := add[dir]; there {
			continue
		}
		st, err := p.d.stat(dir)
		if err != nil {
			return nil, at(dir, err)
		}
		after := st.Node
		after.Time = p.time
		add[dir] = step{Path: Name(dir), Before: &st.Node, After: &after, How: touch}
	}
	for _, s := range add {
		steps = append(steps, s)
	}
	return steps, nil
}
