package bootenv

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// install puts the folder fresh in the place of dir, which it lies beside.
//
// Where there is a folder already, the two are exchanged in one step
// (renameat2(2), RENAME_EXCHANGE): whoever opens a path below dir finds either
// the old folder or the new one, whole, and files that are open stay as they
// are. The old one is removed afterwards.
func install(fresh, dir string) error {
	err := os.Rename(fresh, dir)
	if err == nil || !errors.Is(err, fs.ErrExist) {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if err != nil {
		return fmt.Errorf("exchanging %s and %s: %w", fresh, dir, err)
	}
	return errors.Join(flushFolder(filepath.Dir(dir)), os.RemoveAll(fresh))
}

// keep links the files of a boot folder that belong to another architecture
// into a new one, so that a build of one does not lose the other.
func keep(from, to string, files map[string]File) error {
	for name := range files {
		target := filepath.Join(to, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if err := os.Link(filepath.Join(from, filepath.FromSlash(name)), target); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file of a boot folder and sees to it that it is on the
// disk.
func writeFile(name string, data []byte) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// flushFolder sees to it that the names in a folder are on the disk.
func flushFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
