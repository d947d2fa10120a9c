package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"slipcast/image"
	"slipcast/partition"
)

// An imageDir is the root of a mounted image.
type imageDir struct {
	fs.Inode
	files map[string]*imagePart
}

// A mountedDisk is the disk of a mounted image. What cannot be read of it is
// told once to failed: programs learn no more than that there was an error.
type mountedDisk struct {
	io.ReaderAt
	failed func(error)

	mu   sync.Mutex
	told map[string]bool // by the text of the error
}

// ReadAt implements io.ReaderAt.
func (d *mountedDisk) ReadAt(p []byte, off int64) (int, error) {
	n, err := d.ReaderAt.ReadAt(p, off)
	if err == nil || err == io.EOF {
		return n, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.told[err.Error()] {
		d.told[err.Error()] = true
		d.failed(err)
	}
	return n, err
}

// newImageDir returns the directory that shows the disk in im, which is read
// through disk.
func newImageDir(im *image.Image, disk io.ReaderAt) *imageDir {
	d := &imageDir{files: map[string]*imagePart{}}
	mtime := uint64(max(im.Origin.Time.Unix(), 0))
	add := func(name string, place partition.Extent) {
		d.files[name] = &imagePart{
			data: io.NewSectionReader(disk, place.Start, place.Length), size: place.Length, mtime: mtime,
		}
	}
	add("disk.img", partition.Extent{Length: im.Layout.Size})
	for _, p := range im.Table.Partitions {
		if !p.Extended {
			add(fmt.Sprintf("p%d.img", p.Number), p.Extent())
		}
	}
	return d
}

// OnAdd implements fs.NodeOnAdder.
func (d *imageDir) OnAdd(ctx context.Context) {
	for name, file := range d.files {
		d.AddChild(name, d.NewPersistentInode(ctx, file, fs.StableAttr{Mode: syscall.S_IFREG}), false)
	}
}

// An imagePart is a file of a mounted image: the disk, or a partition of it.
type imagePart struct {
	fs.Inode
	data  io.ReaderAt
	size  int64
	mtime uint64 // seconds since 1970
}

var (
	_ fs.NodeOnAdder   = (*imageDir)(nil)
	_ fs.NodeGetattrer = (*imagePart)(nil)
	_ fs.NodeOpener    = (*imagePart)(nil)
	_ fs.NodeReader    = (*imagePart)(nil)
)

// Getattr implements fs.NodeGetattrer.
func (p *imagePart) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFREG | 0o444
	out.Size = uint64(p.size)
	out.Blocks = uint64(p.size+511) / 512
	out.Mtime, out.Ctime, out.Atime = p.mtime, p.mtime, p.mtime
	return 0
}

// Open implements fs.NodeOpener. The kernel may keep what it has read.
func (p *imagePart) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read implements fs.NodeReader. A damaged chunk is an input/output error.
func (p *imagePart) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := p.data.ReadAt(dest, off)
	if err != nil && err != io.EOF {
		return nil, syscall.EIO
	}
	return fuse.ReadResultData(dest[:n]), 0
}
