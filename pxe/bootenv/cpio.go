package bootenv

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// An Entry is one file of a cpio archive in the format newc, as the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst describes it.
type Entry struct {
	Name         string      // slash-separated, as fs.ValidPath wants it
	Mode         fs.FileMode // permissions and one of: none (a file), ModeDir, ModeSymlink, ModeDevice|ModeCharDevice
	Data         []byte      // of a file; of a symbolic link its target
	Major, Minor uint32      // of a device
}

const (
	cpioMagic   = "070701"
	cpioHeader  = len(cpioMagic) + 13*8
	cpioTrailer = "TRAILER!!!"
	cpioAlign   = 4
)

// File types in the mode field, as in stat(2).
const (
	cpioTypeMask = 0o170000
	cpioChar     = 0o020000
	cpioDir      = 0o040000
	cpioFile     = 0o100000
	cpioLink     = 0o120000
)

// A CPIOWriter writes a cpio archive. Times are zero, everything belongs to
// root and inodes are counted, so that the same entries make the same bytes.
type CPIOWriter struct {
	w     io.Writer
	inode uint32
	dirs  map[string]bool
}

// NewCPIOWriter returns a writer of an archive to w.
func NewCPIOWriter(w io.Writer) *CPIOWriter {
	return &CPIOWriter{w: w, dirs: map[string]bool{".": true}}
}

// Add writes an entry, and before it the folders that it lies in and that are
// not there yet.
func (c *CPIOWriter) Add(e Entry) error {
	if !fs.ValidPath(e.Name) || e.Name == "." || e.Name == cpioTrailer {
		return fmt.Errorf("%q cannot be a name in an archive", e.Name)
	}
	if parent := path.Dir(e.Name); !c.dirs[parent] {
		if err := c.Add(Entry{Name: parent, Mode: fs.ModeDir | 0o755}); err != nil {
			return err
		}
	}
	if e.Mode.IsDir() {
		if c.dirs[e.Name] {
			return nil
		}
		c.dirs[e.Name] = true
	}
	mode, err := cpioMode(e.Mode)
	if err != nil {
		return fmt.Errorf("%s: %w", e.Name, err)
	}
	return c.write(e, mode)
}

// Close ends the archive. It does not close the writer below.
func (c *CPIOWriter) Close() error {
	c.inode = ^uint32(0) // the trailer has inode 0
	return c.write(Entry{Name: cpioTrailer}, 0)
}

// write writes header, name and data, each filled up to a multiple of four.
func (c *CPIOWriter) write(e Entry, mode uint32) error {
	c.inode++
	links := uint32(1)
	if mode&cpioTypeMask == cpioDir {
		links = 2
	}
	fields := []uint32{
		c.inode, mode, 0, 0, links, 0, uint32(len(e.Data)),
		0, 0, e.Major, e.Minor, uint32(len(e.Name) + 1), 0,
	}
	var b strings.Builder
	b.WriteString(cpioMagic)
	for _, f := range fields {
		fmt.Fprintf(&b, "%08x", f)
	}
	b.WriteString(e.Name)
	b.WriteByte(0)
	b.WriteString(zeros(b.Len()))
	if _, err := io.WriteString(c.w, b.String()); err != nil {
		return err
	}
	if _, err := c.w.Write(e.Data); err != nil {
		return err
	}
	_, err := io.WriteString(c.w, zeros(len(e.Data)))
	return err
}

// zeros returns what fills n bytes up to a multiple of four.
func zeros(n int) string {
	return strings.Repeat("\x00", -n&(cpioAlign-1))
}

// cpioMode returns the mode field for a mode.
func cpioMode(m fs.FileMode) (uint32, error) {
	kinds := map[fs.FileMode]uint32{
		0:                                 cpioFile,
		fs.ModeDir:                        cpioDir,
		fs.ModeSymlink:                    cpioLink,
		fs.ModeDevice | fs.ModeCharDevice: cpioChar,
	}
	kind, ok := kinds[m.Type()]
	if !ok {
		return 0, fmt.Errorf("mode %v has no place in an archive", m)
	}
	return kind | uint32(m.Perm()), nil
}
