// Package durable makes files and names last: after a power cut a file is there
// whole, or as it was before.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// partial is how the name of a file ends that is being written by [WriteFile].
const partial = ".partial"

// WriteFile writes p to a new file beside path, and gives it that name once it is
// on the disk, instead of what has it. Nobody ever sees it half written, nor with
// other rights than mode, from which the umask is taken. Two that write the same
// file at once must have a lock between them.
func WriteFile(path string, mode fs.FileMode, p []byte) error {
	name := path + partial
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a run that was cut off, and of other rights
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(name, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return SyncDir(filepath.Dir(path))
}

// Rename gives a file, whose contents are on the disk already, another name in
// the same file system, which lasts when Rename returns.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// SyncDir makes the names in a folder last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) { // not every file system can: fsync(2)
		err = nil
	}
	return errors.Join(err, d.Close())
}
