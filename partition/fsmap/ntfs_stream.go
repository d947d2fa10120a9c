package fsmap

import (
	"sort"

	"slipcast/partition"
)

// An ntfsStream is the value of one attribute: the contents of a file, an
// index, a list. It is made of the parts of the attribute in their order and
// can be read from as soon as the first one is there.
type ntfsStream struct {
	fs    *ntfs
	flags uint16
	parts int

	resident bool
	value    []byte // if resident

	runs        []ntfsRun
	next        int64 // first cluster behind the runs, counted in the file
	size        int64 // bytes
	initialized int64 // bytes; the value reads as zeros from here on
}

// add appends the next part.
func (s *ntfsStream) add(a ntfsAttr) error {
	s.parts++
	if s.parts == 1 {
		s.flags, s.resident, s.value = a.flags, a.resident, a.value
		s.size, s.initialized = a.size, a.initialized
	}
	if a.resident {
		s.size, s.initialized = int64(len(a.value)), int64(len(a.value))
		if s.parts > 1 {
			return damaged("attribute %#x twice", a.kind)
		}
		return nil
	}
	if s.resident || a.lowest != s.next {
		return damaged("attribute %#x continues at cluster %d, want %d", a.kind, a.lowest, s.next)
	}
	runs, next, err := decodeRuns(s.runs, a.pairs, s.next, s.fs.clusters)
	if err != nil {
		return err
	}
	if next != a.highest+1 || s.parts > 1 && next == s.next {
		return damaged("attribute %#x ends at cluster %d, want %d", a.kind, next-1, a.highest)
	}
	s.runs, s.next = runs, next
	return nil
}

// plain returns an error unless the stream holds its bytes as they are.
func (s *ntfsStream) plain() error {
	if s.flags&(ntfsCompressed|ntfsEncrypted) != 0 {
		return damaged("system data that is compressed or encrypted")
	}
	return nil
}

// complete returns an error unless there are clusters for every byte.
func (s *ntfsStream) complete() error {
	if s.resident {
		return nil
	}
	if s.initialized < 0 || s.initialized > s.size || s.size > s.next*s.fs.clusterSize {
		return damaged("%d of %d bytes in %d clusters", s.initialized, s.size, s.next)
	}
	return nil
}

// read fills p from offset off. A range that is not in the stream is damage.
func (s *ntfsStream) read(p []byte, off int64) error {
	if off < 0 || off > s.size-int64(len(p)) {
		return damaged("%d bytes at %d of a file of %d", len(p), off, s.size)
	}
	if s.resident {
		copy(p, s.value[off:])
		return nil
	}
	valid := max(0, min(int64(len(p)), s.initialized-off))
	clear(p[valid:])
	return s.readClusters(p[:valid], off)
}

// readClusters fills p with what is in the clusters from offset off of the
// stream on, whether it was initialized or not.
func (s *ntfsStream) readClusters(p []byte, off int64) error {
	size := s.fs.clusterSize
	i := sort.Search(len(s.runs), func(i int) bool { return (s.runs[i].vcn+s.runs[i].length)*size > off })
	for ; len(p) > 0; i++ {
		if i == len(s.runs) {
			return damaged("a file without a cluster for offset %d", off)
		}
		run := s.runs[i]
		within := off - run.vcn*size
		n := min(int64(len(p)), run.length*size-within)
		if run.lcn == ntfsHole {
			clear(p[:n])
		} else if err := s.fs.v.readInto(p[:n], run.lcn*size+within); err != nil {
			return err
		}
		p, off = p[n:], off+n
	}
	return nil
}

// extents returns the bytes of the volume that hold the stream from its
// cluster vcn on, in the order of the stream.
func (s *ntfsStream) extents(vcn int64) []partition.Extent {
	var list []partition.Extent
	for _, r := range s.runs {
		skip := max(0, min(vcn-r.vcn, r.length))
		if r.lcn == ntfsHole || skip == r.length {
			continue
		}
		list = append(list, partition.Extent{
			Start:  (r.lcn + skip) * s.fs.clusterSize,
			Length: (r.length - skip) * s.fs.clusterSize,
		})
	}
	return list
}
