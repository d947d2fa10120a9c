package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"slipcast/image"
)

// An imageFile is an image that is open for reading at random.
type imageFile struct {
	*image.Image
	f *os.File
}

// openImageFile opens the image at path, which cannot be a pipe.
func openImageFile(path string) (*imageFile, error) {
	if path == "-" {
		return nil, usagef("IMAGE must be a file here; a pipe cannot be read at random")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd) // a device has no size in its Stat
	if err != nil {
		f.Close()
		return nil, err
	}
	im, err := image.Open(f, size)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &imageFile{im, f}, nil
}

func (i *imageFile) Close() error { return i.f.Close() }

// A newImage is an image file under way. It gets its name when it is complete.
type newImage struct {
	path string // empty for standard output
	out  io.Writer
	f    *os.File
}

// createImage starts an image at path, or on standard output for "-". It is
// written beside its place as NAME.partial.
func createImage(env *env, path string) (*newImage, error) {
	if path == "-" {
		return &newImage{out: env.stdout}, nil
	}
	f, err := os.OpenFile(path+".partial", os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, &refusal{"another slipcast is writing " + filepath.Base(path) + ".partial"}
	}
	if err := f.Truncate(0); err != nil {
		f.Close()
		return nil, err
	}
	return &newImage{path: path, out: f, f: f}, nil
}

// Write implements io.Writer.
func (n *newImage) Write(p []byte) (int, error) { return n.out.Write(p) }

// commit flushes the image and gives it its name.
func (n *newImage) commit() error {
	if n.f == nil {
		return nil
	}
	if err := n.f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(n.f.Name(), n.path); err != nil {
		return err
	}
	f := n.f
	n.f = nil
	if err := f.Close(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(n.path))
}

// discard removes what was not committed.
func (n *newImage) discard() {
	if n.f == nil {
		return
	}
	os.Remove(n.f.Name())
	n.f.Close()
	n.f = nil
}

// syncDir makes a new name in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // not every file system knows it
		return err
	}
	return nil
}
