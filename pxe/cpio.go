package pxe

import (
	"fmt"
	"io/fs"
	"path"
)

// maxArchive is the number of bytes that the files of an archive may have.
const maxArchive = 1 << 20

// archive returns files as a cpio archive of the kind newc, as initramfs wants
// it (Documentation/driver-api/early-userspace/buffer-format.rst), with the
// folders that they are in. Only root may read them. It is filled up to a
// multiple of 512 bytes.
func archive(files []File) ([]byte, error) {
	var a cpio
	size := 0
	for _, f := range files {
		size += len(f.Data)
		if !fs.ValidPath(f.Name) || f.Name == "." || len(f.Name) > maxName {
			return nil, fmt.Errorf("file %q: not a name for an archive", f.Name)
		}
		if size > maxArchive {
			return nil, fmt.Errorf("file %s: more than %d bytes in all", f.Name, maxArchive)
		}
		a.folders(path.Dir(f.Name))
		a.entry(f.Name, 0o100600, f.Data)
	}
	a.entry("TRAILER!!!", 0, nil)
	return append(a.p, make([]byte, -len(a.p)&511)...), nil
}

// maxName is the number of bytes of a name.
const maxName = 255

// A cpio is an archive that is being written.
type cpio struct {
	p    []byte
	n    int // entries
	made map[string]bool
}

// folders adds a folder and those that it is in, each one once.
func (a *cpio) folders(dir string) {
	if dir == "." || a.made[dir] {
		return
	}
	a.folders(path.Dir(dir))
	if a.made == nil {
		a.made = make(map[string]bool)
	}
	a.made[dir] = true
	a.entry(dir, 0o040755, nil)
}

// entry adds an entry: header, name with its zero byte, and data, the last two
// filled up to a multiple of four bytes.
func (a *cpio) entry(name string, mode int, data []byte) {
	a.n++
	a.p = fmt.Appendf(a.p, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.n, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.p = append(append(a.p, name...), 0)
	a.p = append(a.p, make([]byte, -len(a.p)&3)...)
	a.p = append(a.p, data...)
	a.p = append(a.p, make([]byte, -len(a.p)&3)...)
}
