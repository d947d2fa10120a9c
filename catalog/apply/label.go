package apply

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
)

// labelOf returns the label of SELinux that n has, nil if it has none.
func (n *Node) labelOf() []byte {
	if n == nil {
		return nil
	}
	for _, x := range n.Xattrs {
		if x.Name == root.Label {
			return x.Value
		}
	}
	return nil
}

// label gives n a label.
func (n *Node) label(value []byte) {
	x := bundle.Xattr{Name: root.Label, Value: value}
	n.Xattrs = slices.DeleteFunc(slices.Clone(n.Xattrs), func(x bundle.Xattr) bool { return x.Name == root.Label })
	i := slices.IndexFunc(n.Xattrs, func(x bundle.Xattr) bool { return x.Name > root.Label })
	if i < 0 {
		i = len(n.Xattrs)
	}
	n.Xattrs = slices.Insert(n.Xattrs, i, x)
}

// relabels reports whether want asks for a label that n does not have.
func (n *Node) relabels(want *Node) bool {
	label := want.labelOf()
	return label != nil && !root.SameLabel(n.labelOf(), label)
}

// labelOf returns the label that what is laid at name gets if nobody asks for
// one: that of what it replaces, if it is of the same type, or else that of the
// directory in which it lies, as the kernel has it.
func (p *planner) labelOf(name string) ([]byte, error) {
	st, err := p.d.stat(name)
	switch {
	case err == nil && st.Type == p.wants[name].node.Type:
		return st.labelOf(), nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	return p.labelIn(path.Dir(name))
}

// labelIn returns the label of a directory as it will be. One that has none
// counts like the one in which it lies.
func (p *planner) labelIn(dir string) (label []byte, err error) {
	if label, ok := p.labels[dir]; ok {
		return label, nil
	}
	if w := p.wants[dir]; w != nil {
		label = w.node.labelOf()
	}
	if label == nil {
		st, err := p.d.stat(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil && st.Type == Dir {
			label = st.labelOf()
		}
	}
	if label == nil && dir != "." {
		if label, err = p.labelIn(path.Dir(dir)); err != nil {
			return nil, err
		}
	}
	p.labels[dir] = label
	return label, nil
}

// relabel asks for the labels that the bundle asks for: an overlay tells of
// none.
func (s *stand) relabel() error {
	for name, label := range s.labels {
		now, err := s.node(name)
		if err != nil {
			return at(name, err)
		}
		if now == nil || root.SameLabel(now.labelOf(), label) {
			continue
		}
		w := s.wants[name]
		if w == nil {
			w = &want{origin: "a label of the bundle", node: copyNode(now), inside: true}
			w.src.open = func() (io.ReadCloser, error) { return s.d.open(name) }
			s.want(name, w)
		}
		w.node.label(label)
	}
	return nil
}
