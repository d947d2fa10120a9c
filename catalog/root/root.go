package root

import (
	"context"
	"errors"
	"os"
)

// A Family is a kind of operating system.
type Family string

// The families.
const (
	Linux   Family = "linux"
	Windows Family = "windows"
)

// A Root is an open root. Its methods are safe for concurrent use, except
// Close, which must be the last.
type Root struct{}

// Open opens the tree at the directory dir, in which it is mounted already;
// "/" is the running system. The file systems below dir are found in the
// kernel's table of mounts; those that do not lie on a disk (proc, tmpfs, a
// share) and those that show a second time what is mounted elsewhere are not
// part of the root.
func Open(dir string) (*Root, error) { return nil, errors.ErrUnsupported }

// A Volume is a partition, or another block device, of a disk.
type Volume struct {
	Node      string // the block device; it may be a loop device
	Name      string // for people: "partition 2"; empty: Node
	PartUUID  string // as fstab says it: the GUID, or DISKID-NN of an MBR; empty if it has none
	PartLabel string
}

// A Disk is the volumes of a disk, in its order.
type Disk struct{ Volumes []Volume }

// MountOptions change how a disk is mounted. The zero value is the default.
type MountOptions struct {
	ReadOnly bool                    // nothing is written, not even a journal that would have to be replayed
	Load     func(name string) error // loads a kernel module; nil if the kernel has what it needs
}

// Mount finds the system on a disk and mounts it at dir, an empty directory.
func Mount(ctx context.Context, d Disk, dir string, opt MountOptions) (*Root, error) {
	return nil, errors.ErrUnsupported
}

// Close gives the root back. What Mount has mounted is written to its disks
// and unmounted; an error means that it may not be on them.
func (r *Root) Close() error { return nil }

// Dir returns the directory of the root, as it is called where Within runs.
func (r *Root) Dir() string { return "" }

// Family tells what kind of system it is: a Windows has Windows/System32.
func (r *Root) Family() Family { return Linux }

// Filesystems returns the file systems of the root, its own first, the others
// ordered by path.
func (r *Root) Filesystems() []*Filesystem { return nil }

// Within calls f on a thread whose mount namespace is a private copy of the
// one that the root is mounted in; in it, the root lies at Dir. What f mounts
// there ends with the thread, unless something keeps it open. f must not hand
// work to other goroutines that depends on it.
func (r *Root) Within(f func() error) error { return nil }

// Lstat describes what lies at path; a link is not followed.
func (r *Root) Lstat(path string) (Stat, error) { return Stat{}, errors.ErrUnsupported }

// Open opens the regular file at path for reading. For anything else the error
// wraps [ErrNotRegular].
func (r *Root) Open(path string) (*os.File, error) { return nil, errors.ErrUnsupported }

// Readlink returns the text of the symbolic link at path.
func (r *Root) Readlink(path string) (string, error) { return "", errors.ErrUnsupported }

// ReadDir returns the names in the directory at path, ordered by bytes.
func (r *Root) ReadDir(path string) ([]string, error) { return nil, errors.ErrUnsupported }

// Xattrs returns the extended attributes of what lies at path, ordered by name.
func (r *Root) Xattrs(path string) ([]Xattr, error) { return nil, errors.ErrUnsupported }

// Parent opens the folder that path lies in. The caller closes it.
func (r *Root) Parent(path string) (*Parent, error) { return nil, errors.ErrUnsupported }

// A Parent is the folder of a path, open. Whatever is renamed meanwhile, it
// stays the folder that it was.
type Parent struct {
	File *os.File    // the folder, open with O_PATH: for *at() system calls alone
	Base string      // the last name of the path; "." for the root itself
	FS   *Filesystem // that the folder lies on
}

// Errors of paths.
var (
	ErrPath       = errors.New("not a path inside of a root")
	ErrNotRegular = errors.New("not a regular file")
	ErrForeign    = errors.New("on a file system that is not part of the root")
	ErrName       = errors.New("a name that Windows and its file systems do not take")
)

// Close closes the folder.
func (p *Parent) Close() error { return p.File.Close() }

// Lstat describes what has the name Base in the folder.
func (p *Parent) Lstat() (Stat, error) { return Stat{}, errors.ErrUnsupported }

// Open opens the regular file Base in the folder for reading.
func (p *Parent) Open() (*os.File, error) { return nil, errors.ErrUnsupported }

// Readlink returns the text of the symbolic link Base.
func (p *Parent) Readlink() (string, error) { return "", errors.ErrUnsupported }

// Xattrs returns the extended attributes of Base, ordered by name.
func (p *Parent) Xattrs() ([]Xattr, error) { return nil, errors.ErrUnsupported }

// SetXattrs makes the extended attributes of Base those of want, and no others.
func (p *Parent) SetXattrs(want []Xattr) error { return errors.ErrUnsupported }

// A Type is what lies at a path.
type Type string

// The types. The first three are called as in a bundle's manifest.
const (
	File        Type = "file"
	Directory   Type = "dir"
	Symlink     Type = "symlink"
	CharDevice  Type = "char"
	BlockDevice Type = "block"
	FIFO        Type = "fifo"
	Socket      Type = "socket"
)

// A Stat describes what lies at a path.
type Stat struct {
	Type    Type
	Mode    uint32 // permission bits, setuid, setgid and sticky
	UID     uint32
	GID     uint32
	Size    int64  // bytes, of a file; else 0
	ModTime Time   // of the contents
	Rdev    uint64 // of a device
	Dev     uint64 // with Ino: which file it is
	Ino     uint64
	Links   uint64 // how many names it has
	Blocks  int64  // bytes that it takes on its file system
}

// A Time is a point in time as file systems keep it: seconds since 1970 and
// nanoseconds, which are never negative.
type Time struct {
	Sec  int64
	Nsec int64
}

// An Xattr is an extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// A Filesystem is one of the file systems of a root.
type Filesystem struct {
	Path   string // of its top, inside of the root; "." for the root's own
	Type   string // as the kernel calls the driver: ext4, xfs, btrfs, vfat, ntfs3, overlay, ...
	Source string // the device, as far as the kernel tells

	Links    bool // it has hard links and symbolic ones
	Owners   bool // it keeps owners and permissions
	Xattrs   bool // it keeps extended attributes
	ReadOnly bool // it is mounted read-only
}

// Free returns how many bytes and inodes may still be taken, by root. A file
// system that has no limit for inodes tells the largest number.
func (fs *Filesystem) Free() (bytes, inodes int64, err error) { return 0, 0, errors.ErrUnsupported }

// Dir returns the top directory of the file system, open for reading. It
// belongs to the root: the caller must not close it.
func (fs *Filesystem) Dir() *os.File { return nil }

// Sync returns when all that was written is on the disk: syncfs(2).
func (fs *Filesystem) Sync() error { return errors.ErrUnsupported }

// CheckName returns an error that wraps [ErrName] if a file must not have this
// name there: FAT and NTFS take less than Windows does in turn.
func (fs *Filesystem) CheckName(name string) error { return nil }

// TreeOptions say what a tree is made of. The zero value is what the tree
// digest is made of.
type TreeOptions struct {
	NoTimes    bool     // times are left out
	NoContents bool     // contents are left out: nothing is read but folders
	Paths      []string // only these and what is below them; empty: all
	Skip       []string // with all below them; beyond slipcast's own files, which are always left out
}

// An Entry is one name in a tree.
type Entry struct {
	Path   string
	Stat   // of a directory without a time
	Xattrs []Xattr
	Link   string // text of a symbolic link
	SHA256 string // of the contents of a file, in hexadecimal
	Same   string // the first name, in this order, of the file that this is another name of; else empty
}

// Tree returns the entries of the root, directories before what is in them.
func (r *Root) Tree(ctx context.Context, opt TreeOptions) ([]Entry, error) {
	return nil, errors.ErrUnsupported
}

// TreeDigest returns the digest of the tree in hexadecimal.
func (r *Root) TreeDigest(ctx context.Context, opt TreeOptions) (string, error) {
	return "", errors.ErrUnsupported
}
