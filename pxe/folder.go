package pxe

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// filePath returns the path in the boot folder of what is asked for by name,
// which has no slash at its beginning, docs/boot.md, section 4.
func filePath(name string) (string, bool) {
	dir, base, _ := strings.Cut(name, "/")
	if a := Arch(dir); a != BIOS && a != X64 && a != ARM64 {
		return "", false
	}
	if base == "" || strings.Contains(base, "/") {
		return "", false
	}
	switch {
	case base == "grubx64.efi", base == "grubaa64.efi":
		base = "grub.efi"
	case base == "mmx64.efi", base == "mmaa64.efi":
		base = "mm.efi"
	case garbled(base) && dir == string(BIOS):
		return "", false
	case garbled(base):
		// Some firmware hands shim 15.8 bytes that are no options, and shim
		// takes them for the name of the next loader: rhboot/shim#696.
		base = "grub.efi"
	}
	return dir + "/" + base, true
}

// garbled returns whether a name is no printable ASCII. Package tftp has put
// a question mark in the place of what is not.
func garbled(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '?' })
}

// openFile opens a file of the boot folder. The folder is looked up anew each
// time, since boot build puts a new one in its place.
func (s *Server) openFile(local string) (*os.File, fs.FileInfo, error) {
	root, err := os.OpenRoot(s.Folder)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	f, err := root.Open(local)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: %w", local, fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// has returns whether the boot folder has a file.
func (s *Server) has(local string) bool {
	f, _, err := s.openFile(local)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// baseName returns the last part of a path or URL.
func baseName(name string) string { return path.Base(name) }

func itoa(n int) string { return strconv.Itoa(n) }
