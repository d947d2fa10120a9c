package apply

import (
	"errors"
	"io"
)

// errIsDir reports a directory that was to be removed as a file.
var errIsDir = errors.New("is a directory")

// A disk is what the engine needs of a root. Paths are relative to it, with
// slashes, and no link is followed, neither in their parents nor at the end: a
// path means the same before a directory becomes a link and after it. A thing
// that is not there, and one below something that is no directory, such as a
// link, is an error that is fs.ErrNotExist.
//
// What was written is on the medium for certain once a barrier has returned,
// and not before: until then any part of it may be.
type disk interface {
	look
	// write makes a new file at path with all that r has and the attributes of n.
	write(path string, r io.Reader, n *Node) error
	// mkdir makes a directory with mode 0700, and symlink a symbolic link with
	// all that n says.
	mkdir(path string) error
	symlink(path string, n *Node) error
	link(old, path string) error
	rename(old, path string) error
	// remove takes away an empty directory if dir is true, else what is none.
	remove(path string, dir bool) error
	// attributes gives the file or directory at path those of n, time and all.
	attributes(path string, n *Node) error
	// setTime changes the time of last change of a directory.
	setTime(path string, t Time) error
	// barrier returns when all that was written to these volumes is on the
	// medium. number is that of docs/bundles.md, section 9.3, from 1.
	barrier(number int, volumes []int) error
}

// A look is the part of a disk that changes nothing.
type look interface {
	// volumes are the file systems of the root; what is in a volume is not in
	// one whose top is longer. The first is the root's own, its top is "".
	volumes() []volume
	stat(path string) (stat, error)
	names(path string) ([]string, error)
	open(path string) (io.ReadCloser, error)
	space(volume int) (space, error)
}

// A volume is one file system of a root.
type volume struct {
	top      string // its path in the root; "" is the root's own
	kind     string // ext4, vfat and so on, for messages
	links    bool   // it has hard links
	owners   bool   // it has modes and owners
	xattrs   bool   // it has extended attributes
	readOnly bool
}

// A stat is a file as it lies there.
type stat struct {
	Node
	id    fileID
	links int
}

// A fileID names a file of a root, whatever it is called. dev is the same for
// all files that a link or a rename can reach.
type fileID struct {
	dev, ino uint64
}

// A space is what is left on a volume. A total of 0 inodes means that they are
// not counted.
type space struct {
	free, total             int64 // bytes
	reserved                int64 // bytes beyond free that root may take
	block                   int64 // bytes that are taken at once; 0: nobody knows
	freeInodes, totalInodes int64
}
