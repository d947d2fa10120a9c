package root

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// An Xattr is an extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// Label is the attribute in which SELinux keeps the label of a file. A kernel
// with a policy gives every new file one, and lets nobody take it away:
// selinux_inode_removexattr in linux/security/selinux/hooks.c says EACCES, even
// where the policy is permissive.
const Label = "security.selinux"

// SameLabel tells whether two labels are the same: a kernel with a policy shows
// a NUL at the end, whether one was set or not.
func SameLabel(a, b []byte) bool {
	return bytes.Equal(bytes.TrimSuffix(a, []byte{0}), bytes.TrimSuffix(b, []byte{0}))
}

// maxXattrs bounds the names and each value, in bytes, as the kernel does
// (XATTR_LIST_MAX, XATTR_SIZE_MAX).
const maxXattrs = 64 << 10

// Xattrs returns the extended attributes of Base, ordered by name: those that
// belong to the file. What a driver shows of itself as system.* is left out,
// but for access control lists.
func (p *Parent) Xattrs() ([]Xattr, error) {
	list, err := xattrs(byPath(p.place()))
	if err != nil {
		return nil, pathError("reading the attributes of", p.path, err)
	}
	return list, nil
}

// SetXattrs makes the extended attributes of Base those of want, and no
// others but its Label, which stays if want has none. It is not atomic.
func (p *Parent) SetXattrs(want []Xattr) error {
	have, err := xattrs(byPath(p.place()))
	if err == nil {
		err = p.setXattrs(have, want)
	}
	if err != nil {
		return pathError("setting the attributes of", p.path, err)
	}
	return nil
}

func (p *Parent) setXattrs(have, want []Xattr) error {
	for _, name := range unwanted(have, want) {
		if err := unix.Lremovexattr(p.place(), name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for _, x := range want {
		same := func(h Xattr) bool { return h.Name == x.Name && bytes.Equal(h.Value, x.Value) }
		if slices.ContainsFunc(have, same) {
			continue
		}
		if err := unix.Lsetxattr(p.place(), x.Name, x.Value, 0); err != nil {
			return fmt.Errorf("%s: %w", x.Name, err)
		}
	}
	return nil
}

// unwanted returns the names of the attributes that are to be taken away.
func unwanted(have, want []Xattr) (names []string) {
	for _, x := range have {
		if x.Name != Label && !slices.ContainsFunc(want, func(w Xattr) bool { return w.Name == x.Name }) {
			names = append(names, x.Name)
		}
	}
	return names
}

// place is a path to Base that goes through the open folder: there are no
// *at() system calls for attributes before Linux 6.13.
func (p *Parent) place() string { return fmt.Sprintf("/proc/self/fd/%d/%s", p.File.Fd(), p.Base) }

// An attributed is something whose attributes can be read.
type attributed struct {
	list func(names []byte) (int, error)
	get  func(name string, value []byte) (int, error)
}

func byPath(path string) attributed {
	return attributed{
		list: func(names []byte) (int, error) { return unix.Llistxattr(path, names) },
		get:  func(name string, value []byte) (int, error) { return unix.Lgetxattr(path, name, value) },
	}
}

func byDescriptor(fd int) attributed {
	return attributed{
		list: func(names []byte) (int, error) { return unix.Flistxattr(fd, names) },
		get:  func(name string, value []byte) (int, error) { return unix.Fgetxattr(fd, name, value) },
	}
}

// xattrs reads all attributes. A file system without any has none.
func xattrs(a attributed) ([]Xattr, error) {
	n, err := a.list(nil)
	if errors.Is(err, unix.ENOTSUP) || err == nil && n == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]byte, maxXattrs)
	if n, err = a.list(names); err != nil {
		return nil, err
	}
	var list []Xattr
	for name := range strings.SplitSeq(string(names[:n]), "\x00") {
		if !belongs(name) {
			continue
		}
		value, err := xattr(a, name)
		if errors.Is(err, unix.ENODATA) {
			continue // gone since it was listed
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, Xattr{name, value})
	}
	slices.SortFunc(list, func(x, y Xattr) int { return strings.Compare(x.Name, y.Name) })
	return list, nil
}

// xattr reads one attribute.
func xattr(a attributed, name string) ([]byte, error) {
	value := make([]byte, 256) // most are smaller
	n, err := a.get(name, value)
	if errors.Is(err, unix.ERANGE) {
		value = make([]byte, maxXattrs)
		n, err = a.get(name, value)
	}
	if err != nil {
		return nil, err
	}
	return value[:n:n], nil
}

// belongs tells the attributes that are part of a file from those by which a
// driver shows something else.
func belongs(name string) bool {
	if name == "system.posix_acl_access" || name == "system.posix_acl_default" {
		return true
	}
	return name != "" && !strings.HasPrefix(name, "system.")
}
