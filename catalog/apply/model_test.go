package apply

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// errPower is what everything returns once the power is off.
var errPower = errors.New("power cut")

// A model is a disk of which it is known what is on the medium, and what the
// medium may be like when the power fails. Between two barriers,
//
//   - contents of files may be there, in part, or not at all;
//   - of all changes of names and attributes of one volume, a prefix is there
//     (ordered: a journal keeps them so), or any of the values that each name
//     and each inode has had (not ordered: FAT, ext2).
//
// Volumes know nothing of each other.
type model struct {
	vols    []volume
	ordered bool
	nodes   map[uint64]*inode // as programs see it
	media   map[uint64]*inode // as it is on the medium for certain
	log     [][][]update      // of each volume: its operations since the last barrier
	last    uint64

	calls, cut int // operations done; the power fails before operation cut (0: never)
	fail       int // operation fail returns failure, once
	failure    error
	deaf       int     // a barrier that does nothing
	sizes      []int64 // bytes of each volume; nil: there is no end
	off        bool
}

// An inode is a file. Its contents are known to be on the medium or not.
type inode struct {
	node    Node
	vol     int
	data    []byte
	safe    bool
	entries map[string]uint64 // of a directory
}

// An update is one thing on the medium that changes: the name in a directory,
// or, where name is empty, the attributes of an inode.
type update struct {
	ino  uint64
	name string
	to   uint64 // inode that the name is of; 0: none
	node Node
}

func (n *inode) copy() *inode {
	c := *n
	c.entries = maps.Clone(n.entries)
	return &c
}

// newModel returns an empty disk with these volumes, the first being the root's.
func newModel(ordered bool, vols ...volume) *model {
	m := &model{vols: vols, ordered: ordered, nodes: map[uint64]*inode{}, log: make([][][]update, len(vols))}
	m.nodes[1] = &inode{node: Node{Type: Dir, Mode: 0o755}, entries: map[string]uint64{}}
	m.last = 1
	for i, v := range vols[1:] {
		ino, err := m.add(v.top, i+1, &Node{Type: Dir, Mode: 0o755})
		if err != nil {
			panic(err)
		}
		m.nodes[ino].vol = i + 1
	}
	m.settle()
	return m
}

// settle makes the medium what programs see.
func (m *model) settle() {
	m.media = map[uint64]*inode{}
	for ino, n := range m.nodes {
		n.safe = true
		m.media[ino] = n.copy()
	}
	m.log = make([][][]update, len(m.vols))
}

// tick counts an operation that changes something.
func (m *model) tick() error {
	if m.off {
		return errPower
	}
	m.calls++
	if m.calls == m.cut {
		m.off = true
		return errPower
	}
	if m.calls == m.fail {
		return m.failure
	}
	return nil
}

// walk returns the inode of a path, following no links.
func (m *model) walk(p string) (uint64, error) {
	ino := uint64(1)
	for name := range strings.SplitSeq(path.Clean(p), "/") {
		if name == "." {
			continue
		}
		if ino = m.nodes[ino].entries[name]; m.nodes[ino] == nil {
			return 0, fs.ErrNotExist
		}
	}
	return ino, nil
}

func (m *model) parent(p string) (uint64, string, error) {
	ino, err := m.walk(path.Dir(p))
	if err == nil && m.nodes[ino].entries == nil {
		err = fs.ErrNotExist
	}
	return ino, path.Base(p), err
}

// do does updates of one operation.
func (m *model) do(vol int, list ...update) {
	m.log[vol] = append(m.log[vol], list)
	apply(m.nodes, list)
}

// apply does updates on a set of inodes.
func apply(nodes map[uint64]*inode, list []update) {
	for _, u := range list {
		n := nodes[u.ino]
		switch {
		case u.name == "":
			n.node = u.node
		case u.to == 0:
			delete(n.entries, u.name)
		default:
			n.entries[u.name] = u.to
		}
	}
}

// add makes a new inode with a name.
func (m *model) add(p string, vol int, n *Node) (uint64, error) {
	dir, base, err := m.parent(p)
	if err != nil {
		return 0, err
	}
	if m.nodes[dir].entries[base] != 0 {
		return 0, fs.ErrExist
	}
	m.last++
	node := &inode{node: *n, vol: vol}
	if n.Type == Dir {
		node.entries = map[string]uint64{}
	}
	m.nodes[m.last] = node
	if m.media != nil {
		blank := node.copy() // nobody finds it before its name is there
		blank.node = Node{Type: n.Type, Link: n.Link}
		m.media[m.last] = blank
	}
	m.do(m.nodes[dir].vol, update{ino: m.last, node: *n}, update{ino: dir, name: base, to: m.last})
	m.stamp(dir)
	return m.last, nil
}

// stamp gives a directory a time that it has never had.
func (m *model) stamp(dir uint64) {
	n := m.nodes[dir].node
	n.Time = Time{Sec: 1 << 40, Nsec: int64(m.calls)}
	m.do(m.nodes[dir].vol, update{ino: dir, node: n})
}

func (m *model) volumes() []volume { return m.vols }

func (m *model) stat(p string) (stat, error) {
	if m.off {
		return stat{}, errPower
	}
	ino, err := m.walk(p)
	if err != nil {
		return stat{}, err
	}
	n := m.nodes[ino]
	st := stat{Node: n.node, id: fileID{uint64(n.vol), ino}, links: 1}
	if n.node.Type == File {
		st.links = m.links(ino)
		st.Size = int64(len(n.data))
	}
	return st, nil
}

func (m *model) links(ino uint64) int {
	count := 0
	for _, n := range m.nodes {
		for _, to := range n.entries {
			if to == ino {
				count++
			}
		}
	}
	return count
}

func (m *model) names(p string) ([]string, error) {
	if m.off {
		return nil, errPower
	}
	ino, err := m.walk(p)
	if err != nil {
		return nil, err
	}
	if m.nodes[ino].entries == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Sorted(maps.Keys(m.nodes[ino].entries)), nil
}

func (m *model) open(p string) (io.ReadCloser, error) {
	if m.off {
		return nil, errPower
	}
	ino, err := m.walk(p)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(m.nodes[ino].data)), nil
}

func (m *model) space(vol int) (space, error) {
	if m.sizes != nil {
		return space{free: m.sizes[vol] - m.used(vol), total: m.sizes[vol], block: modelBlock}, nil
	}
	return space{free: 1 << 40, total: 1 << 41, freeInodes: 1 << 30, totalInodes: 1 << 31}, nil
}

// modelBlock is how many bytes a model takes at once. A directory has 64 and
// three for each byte of a name, as FAT may.
const modelBlock = 4096

func modelBlocks(n int) int64 { return int64(n+modelBlock-1) / modelBlock * modelBlock }

// used returns how much of a volume is taken.
func (m *model) used(vol int) int64 {
	var total int64
	seen := map[uint64]bool{}
	var walk func(ino uint64)
	walk = func(ino uint64) {
		n := m.nodes[ino]
		if seen[ino] {
			return
		}
		seen[ino] = true
		if n.vol == vol {
			total += modelBlocks(len(n.data)) + n.folderSize()
		}
		for _, to := range n.entries {
			walk(to)
		}
	}
	walk(1)
	return total
}

func (n *inode) folderSize() int64 {
	if n.entries == nil {
		return 0
	}
	bytes := 1
	for name := range n.entries {
		bytes += 64 + 3*len(name)
	}
	return modelBlocks(bytes)
}

// takes reports that a volume has no room for n bytes and a name in a folder.
func (m *model) takes(dir uint64, name string, n int64) error {
	if m.sizes == nil {
		return nil
	}
	folder := m.nodes[dir]
	with := folder.copy()
	with.entries[name] = 1
	if vol := folder.vol; m.used(vol)+n+with.folderSize()-folder.folderSize() > m.sizes[vol] {
		return unix.ENOSPC
	}
	return nil
}

func (m *model) write(p string, r io.Reader, n *Node) error {
	if err := m.tick(); err != nil {
		return err
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	dir, base, err := m.parent(p)
	if err == nil {
		err = m.takes(dir, base, modelBlocks(len(data)))
	}
	if err != nil {
		return err
	}
	c := *n
	c.Data, c.SHA256 = 0, ""
	ino, err := m.add(p, m.nodes[dir].vol, &c)
	if err != nil {
		return err
	}
	m.nodes[ino].data = data
	return nil
}

func (m *model) mkdir(p string) error {
	if err := m.tick(); err != nil {
		return err
	}
	dir, base, err := m.parent(p)
	if err == nil {
		err = m.takes(dir, base, modelBlock)
	}
	if err != nil {
		return err
	}
	_, err = m.add(p, m.nodes[dir].vol, &Node{Type: Dir, Mode: 0o700})
	return err
}

func (m *model) symlink(p string, n *Node) error {
	if err := m.tick(); err != nil {
		return err
	}
	dir, _, err := m.parent(p)
	if err != nil {
		return err
	}
	c := *n
	c.Data = 0
	_, err = m.add(p, m.nodes[dir].vol, &c)
	return err
}

func (m *model) link(old, p string) error {
	if err := m.tick(); err != nil {
		return err
	}
	ino, err := m.walk(old)
	if err != nil {
		return err
	}
	dir, base, err := m.parent(p)
	if err != nil {
		return err
	}
	vol := m.nodes[dir].vol
	switch {
	case !m.vols[vol].links:
		return errors.New("no hard links here")
	case m.nodes[ino].vol != vol:
		return errors.New("cross-device link")
	case m.nodes[dir].entries[base] != 0:
		return fs.ErrExist
	}
	if err := m.takes(dir, base, 0); err != nil {
		return err
	}
	m.do(vol, update{ino: dir, name: base, to: ino})
	m.stamp(dir)
	return nil
}

func (m *model) rename(old, p string) error {
	if err := m.tick(); err != nil {
		return err
	}
	from, base, err := m.parent(old)
	if err != nil {
		return err
	}
	to, newBase, err := m.parent(p)
	if err != nil {
		return err
	}
	ino := m.nodes[from].entries[base]
	there := m.nodes[to].entries[newBase]
	switch {
	case ino == 0:
		return fs.ErrNotExist
	case m.nodes[from].vol != m.nodes[to].vol:
		return errors.New("cross-device link")
	case there == ino:
		return nil // rename(2) leaves both names
	case there != 0 && (m.nodes[there].entries != nil || m.nodes[ino].entries != nil):
		return errIsDir
	}
	if err := m.takes(to, newBase, 0); err != nil {
		return err
	}
	m.do(m.nodes[to].vol, update{ino: to, name: newBase, to: ino}, update{ino: from, name: base})
	m.stamp(from)
	m.stamp(to)
	return nil
}

func (m *model) remove(p string, isDir bool) error {
	if err := m.tick(); err != nil {
		return err
	}
	dir, base, err := m.parent(p)
	if err != nil {
		return err
	}
	n := m.nodes[m.nodes[dir].entries[base]]
	switch {
	case n == nil:
		return fs.ErrNotExist
	case isDir && n.entries == nil:
		return fs.ErrNotExist
	case !isDir && n.entries != nil:
		return errIsDir
	case len(n.entries) > 0:
		return errors.New("directory not empty")
	}
	m.do(m.nodes[dir].vol, update{ino: dir, name: base})
	m.stamp(dir)
	return nil
}

func (m *model) attributes(p string, n *Node) error {
	return m.change(p, func(old *Node) {
		old.Mode, old.UID, old.GID, old.Time, old.Xattrs = n.Mode, n.UID, n.GID, n.Time, n.Xattrs
	})
}

func (m *model) setTime(p string, t Time) error {
	return m.change(p, func(old *Node) { old.Time = t })
}

func (m *model) change(p string, f func(*Node)) error {
	if err := m.tick(); err != nil {
		return err
	}
	ino, err := m.walk(p)
	if err != nil {
		return err
	}
	n := m.nodes[ino].node
	f(&n)
	m.do(m.nodes[ino].vol, update{ino: ino, node: n})
	return nil
}

func (m *model) barrier(number int, vols []int) error {
	if err := m.tick(); err != nil {
		return err
	}
	if number == m.deaf {
		return nil
	}
	for _, v := range vols {
		for _, list := range m.log[v] {
			apply(m.media, list)
		}
		m.log[v] = nil
		for ino, n := range m.nodes {
			if n.vol == v && !n.safe {
				n.safe = true
				m.media[ino].data, m.media[ino].safe = n.data, true
			}
		}
	}
	return nil
}

// boot returns the disk as it is found after the power cut: chance decides
// what was on the medium.
func (m *model) boot(chance *rand.Rand) *model {
	next := &model{vols: m.vols, ordered: m.ordered, last: m.last, nodes: map[uint64]*inode{}, log: make([][][]update, len(m.vols)), deaf: m.deaf, sizes: m.sizes}
	for ino, n := range m.media {
		next.nodes[ino] = n.copy()
	}
	for v := range m.vols {
		if m.ordered {
			for _, list := range m.log[v][:chance.IntN(len(m.log[v])+1)] {
				apply(next.nodes, list)
			}
			continue
		}
		next.scatter(m.log[v], chance)
	}
	for ino, n := range next.nodes {
		if seen := m.nodes[ino]; !n.safe && seen != nil {
			n.data = torn(seen.data, chance)
		}
	}
	next.settle()
	return next
}

// scatter gives each name and each inode one of the values that it has had.
func (m *model) scatter(log [][]update, chance *rand.Rand) {
	type key struct {
		ino  uint64
		name string
	}
	var order []key
	values := map[key][]update{}
	for _, list := range log {
		for _, u := range list {
			k := key{u.ino, u.name}
			if values[k] == nil {
				order = append(order, k)
			}
			values[k] = append(values[k], u)
		}
	}
	for _, k := range order {
		if i := chance.IntN(len(values[k]) + 1); i > 0 {
			apply(m.nodes, values[k][i-1:i])
		}
	}
}

// torn returns what may be there of contents that nobody flushed.
func torn(p []byte, chance *rand.Rand) []byte {
	switch chance.IntN(4) {
	case 0:
		return p
	case 1:
		return nil
	case 2:
		return bytes.Clone(p[:chance.IntN(len(p)+1)])
	}
	return make([]byte, len(p))
}
