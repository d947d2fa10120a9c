package fsmap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"slipcast/partition"
)

// extRootInode is the inode of the root directory.
const extRootInode = 2

// extMaxDirBlocks bounds how much of a directory is searched.
const extMaxDirBlocks = 1 << 14

// extSwapfiles are the paths of swap files that installers make: the root
// directory's swapfile (Debian's and Ubuntu's desktop, by hand), swap.img
// (Ubuntu's server), .swapfile, and swapfile in a directory of its own.
func extSwapfiles() []string {
	return []string{"/swapfile", "/swap.img", "/.swapfile", "/swap/swapfile"}
}

// errNoSwapfile tells that a path does not lead to a swap file whose contents
// may be left out.
var errNoSwapfile = errors.New("no plain swap file")

// leaveOutSwapfiles takes the contents of swap files, all but their first
// page, out of m. Whatever is doubtful about one leaves it in the map. The
// file system is clean.
func (fs *extFS) leaveOutSwapfiles(m *Map) {
	var body []partition.Extent
	var notes []string
	for _, path := range extSwapfiles() {
		extents, size, err := fs.swapBody(path)
		if err != nil {
			continue
		}
		body = append(body, extents...)
		notes = append(notes, fmt.Sprintf("left out swap file %s (%s)", path, extReadable(size)))
	}
	if len(body) == 0 {
		return
	}
	// Metadata stays, even if a damaged inode claims it as swap space.
	var b partition.Builder
	for _, e := range m.Used.Minus(partition.Normalize(body)) {
		b.Add(e.Start, e.Length)
	}
	fs.addFixed(&b)
	err := fs.eachGroup(func(g extGroup) error {
		fs.addMetadata(&b, g)
		return nil
	})
	if err != nil {
		return // the same groups were read a moment ago, now the disk fails
	}
	m.Used = b.Extents()
	m.Notes = append(m.Notes, notes...)
}

// swapBody returns what lies behind the first page of the swap file at path,
// and the file's size.
func (fs *extFS) swapBody(path string) ([]partition.Extent, int64, error) {
	ino, err := fs.lookup(path)
	if err != nil {
		return nil, 0, err
	}
	const plain = extFlagExtents | extFlagImmutable | extFlagNoDump | extFlagNoAtime
	if ino.mode&extModeMask != extModeFile || ino.links != 1 ||
		ino.flags&extFlagExtents == 0 || ino.flags&^plain != 0 {
		return nil, 0, errNoSwapfile
	}
	runs, err := fs.runs(ino)
	if err != nil {
		return nil, 0, err
	}
	page, err := fs.swapPage(runs)
	if err != nil {
		return nil, 0, err
	}
	keep := (page + fs.blockSize - 1) / fs.blockSize
	var body []partition.Extent
	for _, r := range runs {
		skip := min(max(keep-r.logical, 0), r.count)
		body = append(body, partition.Extent{Start: (r.start + skip) * fs.blockSize, Length: (r.count - skip) * fs.blockSize})
	}
	return body, ino.size, nil
}

// swapPage returns the size of a page of the swap file in runs. The file must
// hold the signature of swap space at the end of its first page. A suspended
// system leaves another one there (S1SUSPEND and the like).
func (fs *extFS) swapPage(runs []extRun) (int64, error) {
	const largest = 64 << 10
	const signature = "SWAPSPACE2"
	var head []byte
	buf := make([]byte, fs.blockSize)
	for at := int64(0); at*fs.blockSize < largest; at++ {
		i := slices.IndexFunc(runs, func(r extRun) bool { return at >= r.logical && at < r.logical+r.count })
		if i < 0 || runs[i].unwritten {
			break
		}
		if err := fs.readDisk(buf, runs[i].start+at-runs[i].logical); err != nil {
			return 0, err
		}
		head = append(head, buf...)
	}
	for page := 4 << 10; page <= min(largest, len(head)); page *= 2 {
		if string(head[page-len(signature):page]) == signature {
			return int64(page), nil
		}
	}
	return 0, errNoSwapfile
}

// lookup returns the inode at path, which starts with a slash.
func (fs *extFS) lookup(path string) (extInode, error) {
	ino, err := fs.inode(extRootInode)
	for _, name := range strings.Split(path, "/")[1:] {
		if err != nil {
			return extInode{}, err
		}
		var number uint32
		if number, err = fs.find(ino, name); err != nil {
			return extInode{}, err
		}
		ino, err = fs.inode(number)
	}
	return ino, err
}

// find returns the number of the inode that name has in the directory dir. It
// reads the blocks one after another; the inner blocks of a hashed directory
// look like unused entries.
func (fs *extFS) find(dir extInode, name string) (uint32, error) {
	if dir.mode&extModeMask != extModeDir {
		return 0, errNoSwapfile
	}
	runs, err := fs.runs(dir)
	if err != nil {
		return 0, err
	}
	buf := make([]byte, fs.blockSize)
	left := extMaxDirBlocks
	for _, r := range runs {
		for block := r.start; block < r.start+r.count; block++ {
			if left--; left < 0 {
				return 0, errNoSwapfile
			}
			if err := fs.readDisk(buf, block); err != nil {
				return 0, err
			}
			if number := extFindEntry(buf, name); number != 0 {
				return number, nil
			}
		}
	}
	return 0, errNoSwapfile
}

// extFindEntry returns the number of the inode that name has in one block of a
// directory, zero if it has none. See
// Documentation/filesystems/ext4/directory.rst.
func extFindEntry(p []byte, name string) uint32 {
	const header = 8
	le := binary.LittleEndian
	for len(p) >= header {
		length := int(le.Uint16(p[4:]))
		if length == 0 || length == 0xffff { // the rest of a block of 64 KiB
			length = len(p)
		}
		number, n := le.Uint32(p), int(p[6])
		if length < header || length > len(p) || header+n > length {
			return 0
		}
		if number != 0 && string(p[header:header+n]) == name {
			return number
		}
		p = p[length:]
	}
	return 0
}

// extReadable formats a size in bytes for people.
func extReadable(size int64) string {
	value, unit := float64(size), 0
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d bytes", size)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
