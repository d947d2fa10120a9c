package fsmap

import (
	"bytes"
	"fmt"
	"strings"

	"slipcast/partition"
)

const (
	ntfsHibernation = "hiberfil.sys"

	// ntfsSwapHead is how much of a page or hibernation file is always kept,
	// in bytes: with the head of this file, no older one that lies on a
	// target's disk is taken for a suspended system or a crash dump.
	ntfsSwapHead = 64 << 10
	ntfsSignHead = 4096 // bytes that hold the signatures
)

// An ntfsSwapfile is a file in the root directory with contents that a
// Windows which is shut down does not need.
type ntfsSwapfile struct {
	name string
	file *ntfsFile
	data *ntfsStream
	head []byte // its first bytes, up to ntfsSignHead
}

// findSwapfiles returns the files that carry the names of page and
// hibernation files, and have contents. On an error it returns those that
// were found before.
func (fs *ntfs) findSwapfiles() ([]*ntfsSwapfile, error) {
	names := []string{ntfsHibernation, "pagefile.sys", "swapfile.sys"}
	found, err := fs.findInRoot(names)
	if err != nil {
		return nil, err
	}
	var list []*ntfsSwapfile
	for _, name := range names {
		for _, ref := range found[name] {
			s, err := fs.openSwapfile(name, ref)
			if err != nil {
				return list, fmt.Errorf("%s: %w", name, err)
			}
			if s != nil {
				list = append(list, s)
			}
		}
	}
	return list, nil
}

// openSwapfile returns the file of that reference, nil if it is a directory
// or its contents are not plain.
func (fs *ntfs) openSwapfile(name string, ref ntfsRef) (*ntfsSwapfile, error) {
	file, err := fs.openRef(ref)
	if err != nil || file.base.directory {
		return nil, err
	}
	data := &ntfsStream{fs: fs}
	if err := file.load(data, ntfsData, ""); err != nil {
		return nil, err
	}
	if data.plain() != nil {
		return nil, nil
	}
	s := &ntfsSwapfile{name: name, file: file, data: data, head: make([]byte, min(ntfsSignHead, data.size))}
	return s, s.readHead()
}

// readHead reads what is in the first clusters, whether the file system
// calls it initialized or not: a boot loader may not ask.
func (s *ntfsSwapfile) readHead() error {
	if s.data.resident {
		return s.data.read(s.head, 0)
	}
	return s.data.readClusters(s.head, 0)
}

// signature returns the first four bytes in lower case.
func (s *ntfsSwapfile) signature() string {
	return strings.ToLower(string(s.head[:min(4, len(s.head))]))
}

// suspended reports whether the file holds a Windows that will go on from
// where it stopped, with a state of the file system that is in its memory
// alone. The signatures are those of PO_MEMORY_IMAGE: "hibr" is a system that
// is hibernated, "rstr" one that is being resumed, "horm" one that is resumed
// again and again.
func (s *ntfsSwapfile) suspended() bool {
	if s.name != ntfsHibernation {
		return false
	}
	switch s.signature() {
	case "hibr", "rstr", "horm":
		return true
	}
	return false
}

// contents returns the bytes of the volume that hold the file without its
// head.
func (s *ntfsSwapfile) contents() partition.Extents {
	size := s.data.fs.clusterSize
	return partition.Normalize(s.data.extents((ntfsSwapHead + size - 1) / size))
}

// needed tells why the contents must be kept, if they must.
func (s *ntfsSwapfile) needed() string {
	switch {
	case s.name == ntfsHibernation && s.signature() != "wake" && !ntfsFilled(s.head, 0):
		return "it has unknown contents"
	case bytes.HasPrefix(s.head, []byte("PAGEDUMP")), bytes.HasPrefix(s.head, []byte("PAGEDU64")):
		return "it holds a crash dump"
	case s.file.base.links != 1:
		return "it has more than one name"
	case s.data.flags != 0:
		return "it is sparse"
	}
	return ""
}

// leaveOut takes the contents of page and hibernation files out of used.
// What it takes out must be marked as used and must not belong to the file
// system itself; otherwise two files claim the same clusters.
func (fs *ntfs) leaveOut(m *Map, used, own partition.Extents, swap []*ntfsSwapfile) (partition.Extents, error) {
	names := map[string]int{}
	for _, s := range swap {
		names[s.name]++
	}
	for _, s := range swap {
		contents := s.contents()
		reason := s.needed()
		if names[s.name] > 1 {
			reason = "there are several"
		}
		if len(contents) == 0 {
			continue
		}
		if reason != "" {
			m.note("kept %s: %s", s.name, reason)
			continue
		}
		for _, e := range contents {
			if !used.Covers(e) || own.Touches(e) {
				return nil, damaged("the clusters of %s at offset %d are free or in use twice", s.name, e.Start)
			}
		}
		used = used.Minus(contents)
		m.note("left out %s (%s)", s.name, ntfsSizeText(contents.Size()))
	}
	return used, nil
}

// ntfsSizeText formats a number of bytes for people.
func ntfsSizeText(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
