package blockdev

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// A state is what the machine looked like at one moment.
type state struct {
	*machine
	nodes  tree
	mounts []mount
	swaps  []string
	btrfs  [][]string          // the devices of each mounted btrfs
	under  map[string][]string // the devices that a device lies on
	over   map[string][]string // the devices that lie on a device
	files  map[string]fileID   // the file below each loop device
}

// load reads the state of the machine. Where a table cannot be read there is
// no state, so that nothing is opened unchecked.
func (m *machine) load() (*state, error) {
	s := &state{machine: m, under: map[string][]string{}, over: map[string][]string{}, files: map[string]fileID{}}
	var err error
	if s.nodes, err = readTree(m.sys); err != nil {
		return nil, fmt.Errorf("listing block devices: %w", err)
	}
	if s.btrfs, err = readBtrfs(m.sys); err != nil {
		return nil, fmt.Errorf("listing btrfs devices: %w", err)
	}
	if s.mounts, err = m.readMounts(); err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	if s.swaps, err = m.readSwaps(); err != nil {
		return nil, fmt.Errorf("listing swap devices: %w", err)
	}
	s.link()
	return s, nil
}

func (m *machine) readMounts() ([]mount, error) {
	f, err := m.proc.Open("self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMounts(f)
}

// readSwaps returns the swap devices and files; a kernel without swap has no
// such table.
func (m *machine) readSwaps() ([]string, error) {
	f, err := m.proc.Open("swaps")
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseSwaps(f)
}

// link joins the devices in both directions: by the links of sysfs, from each
// loop device to what its file lies on, and partitions that share bytes, as
// on a disk made from a hybrid ISO image.
func (s *state) link() {
	for name, n := range s.nodes {
		for _, below := range n.slaves {
			s.edge(name, below)
		}
		for _, above := range n.holders {
			s.edge(above, name)
		}
		if n.backing != "" {
			for _, below := range s.underLoop(n) {
				s.edge(name, below)
			}
		}
		for _, a := range n.parts {
			for _, b := range n.parts {
				if a != b && s.nodes[a].shares(s.nodes[b]) {
					s.edge(a, b)
				}
			}
		}
	}
}

// edge notes that the device upper lies on the device lower.
func (s *state) edge(upper, lower string) {
	if !slices.Contains(s.under[upper], lower) {
		s.under[upper] = append(s.under[upper], lower)
		s.over[lower] = append(s.over[lower], upper)
	}
}

// underLoop returns the devices that hold the file below a loop device, and
// keeps the file's identity.
func (s *state) underLoop(n *node) []string {
	dev, rdev, ino := s.loop(n.devName)
	switch {
	case rdev != 0:
		s.files[n.name] = fileID{mode: fs.ModeDevice, rdev: rdev}
	case ino != 0:
		s.files[n.name] = fileID{dev: dev, inode: ino}
	default:
		if id, err := s.stat(n.backing); err == nil {
			s.files[n.name] = id
		}
	}
	id := s.files[n.name]
	if id.isDevice() {
		return s.names(id.rdev)
	}
	names := s.names(id.dev)
	if len(names) == 0 { // no single device, or not known: by the path
		names = s.mountDevices(mountOf(s.mounts, n.backing), map[int]bool{})
	}
	return names
}

// name returns the name of the device with the given number, empty if there
// is none.
func (s *state) name(dev devno) string {
	if n := s.nodes.byDev(dev); n != nil {
		return n.name
	}
	return ""
}

// names returns the name of the device with the given number, if there is one.
func (s *state) names(dev devno) []string {
	if name := s.name(dev); name != "" {
		return []string{name}
	}
	return nil
}

// mountDevices returns the devices that a mounted file system occupies. seen
// holds the mounts that were looked at, by id, and ends loops of overlays.
func (s *state) mountDevices(m *mount, seen map[int]bool) []string {
	if m == nil || seen[m.id] {
		return nil
	}
	seen[m.id] = true
	names := s.names(m.dev)
	if m.dev.anonymous() {
		names = append(names, s.sourceDevices(m.source)...)
	}
	if m.fsType == "overlay" {
		names = append(names, s.layerDevices(m, seen)...)
	}
	for _, members := range s.btrfs {
		if slices.ContainsFunc(members, func(name string) bool { return slices.Contains(names, name) }) {
			names = append(names, members...)
		}
	}
	return names
}

// sourceDevices returns the devices that the source of a mount names: a path,
// or several with colons between them (bcachefs).
func (s *state) sourceDevices(source string) []string {
	var names []string
	for path := range strings.SplitSeq(source, ":") {
		if !strings.HasPrefix(path, "/dev/") {
			continue
		}
		if id, err := s.stat(path); err == nil && id.isDevice() {
			names = append(names, s.names(id.rdev)...)
		}
	}
	return names
}

// layerDevices returns the devices that the layers of an overlay lie on. The
// options name them as they were seen when the overlay was mounted, in a live
// system before the change of root. So every image mounted here that is
// read-only by its kind counts as a layer as well.
func (s *state) layerDevices(m *mount, seen map[int]bool) []string {
	var names []string
	for _, option := range m.options {
		key, paths, _ := strings.Cut(option, "=")
		switch strings.TrimSuffix(key, "+") {
		case "lowerdir", "upperdir", "workdir", "datadir":
		default:
			continue
		}
		for path := range strings.SplitSeq(paths, ":") {
			if path != "" {
				names = append(names, s.mountDevices(mountOf(s.mounts, path), seen)...)
			}
		}
	}
	for i := range s.mounts {
		switch s.mounts[i].fsType {
		case "squashfs", "erofs", "iso9660", "udf":
			names = append(names, s.mountDevices(&s.mounts[i], seen)...)
		}
	}
	return names
}
