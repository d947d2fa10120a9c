package main

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"slipcast/image"
	"slipcast/internal/durable"
)

// An imageFile is an image that is open for reading at random, wherever it lies.
type imageFile struct {
	*image.Image
	file rawImage
}

// A rawImage is the file of an image, or of something else.
type rawImage interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// openImageFile opens the image that IMAGE names, which cannot be a pipe.
func openImageFile(ctx context.Context, path string, flags *imageFlags) (*imageFile, error) {
	if path == "-" {
		return nil, usagef("IMAGE must be a file here; a pipe cannot be read at random")
	}
	switch {
	case isRemote(path):
		return openRemoteImage(ctx, path, flags)
	case isStored(path):
		return openStoredImage(path, flags)
	}
	f, err := openLocal(path)
	if err != nil {
		return nil, err
	}
	return openRaw(f)
}

// openRaw opens the image in f, and closes f if there is none.
func openRaw(f rawImage) (*imageFile, error) {
	im, err := image.Open(f, f.Size())
	if err != nil {
		f.Close()
		return nil, err
	}
	return &imageFile{im, f}, nil
}

// A localFile is a file or device with its size.
type localFile struct {
	*os.File
	size int64
}

// openLocal opens a file that can be read at random.
func openLocal(path string) (*localFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd) // a device has no size in its Stat
	if err != nil {
		f.Close()
		return nil, err
	}
	return &localFile{f, size}, nil
}

// Size returns the length of the file in bytes.
func (f *localFile) Size() int64 { return f.size }

func (i *imageFile) Close() error { return i.file.Close() }

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
	return durable.SyncDir(filepath.Dir(n.path))
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
