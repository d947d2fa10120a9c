package bake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"slipcast/internal/blockdev"
	"slipcast/partition"
)

// maxRequest is the most bytes that the kernel reads or writes at once.
const maxRequest = 1 << 20

// maxInFlight bounds the requests that are in memory at once, in bytes.
const maxInFlight = 32 << 20

// diskName is what the file with the disk is called in its mount.
const diskName = "disk"

// A disk shows a Cow as a file, in a FUSE mount that is in no directory. This
// process must not open anything in it: see the package's documentation.
type disk struct {
	root *os.File      // of the mount; to be handed to another process
	gone chan struct{} // closed when the kernel has let go of the mount
}

// shutdown is how long the kernel may take to let go of a mount that nobody uses.
const shutdown = 30 * time.Second

// serveDisk begins to show c.
func serveDisk(c *Cow) (*disk, error) {
	forgoWriteback()
	connection, root, err := blockdev.MountFUSE("slipcast-bake", maxRequest)
	if err != nil {
		return nil, err
	}
	forever := time.Hour
	files := fs.NewNodeFS(&diskDir{cow: c}, &fs.Options{AttrTimeout: &forever, EntryTimeout: &forever})
	server, err := fuse.NewServer(files, fmt.Sprintf("/dev/fd/%d", connection), &fuse.MountOptions{
		MaxWrite: maxRequest, MaxReadAhead: maxRequest, MaxInflightRequestBytes: maxInFlight,
		DisableXAttrs: true, DisableSplice: true,
	})
	if err != nil {
		root.Close()
		return nil, err
	}
	d := &disk{root: root, gone: make(chan struct{})}
	go func() { // ends with the mount, which close awaits
		server.Serve()
		close(d.gone)
	}()
	return d, nil
}

// close ends the mount. Nobody else may have anything of it open any more.
func (d *disk) close() error {
	err := d.root.Close()
	select {
	case <-d.gone:
		return err
	case <-time.After(shutdown):
		return errors.New("the kernel still uses the copy of the disk")
	}
}

// forgoWriteback tells the kernel that this process is one through which it
// writes to a file system: to find memory for it, it must not wait for what
// only this process can do (PR_SET_IO_FLUSHER, Linux 5.6, prctl(2)). It
// holds for the process from then on and does no harm. It takes
// CAP_SYS_RESOURCE; without it, or in a program with cgo, memory that runs out completely can make
// the copy hang, and nothing but the copy.
func forgoWriteback() {
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 1, 0)
}

// A diskDir is the directory of a disk's mount. It has one file.
type diskDir struct {
	fs.Inode
	cow *Cow
}

// OnAdd implements fs.NodeOnAdder.
func (d *diskDir) OnAdd(ctx context.Context) {
	d.AddChild(diskName, d.NewPersistentInode(ctx, &diskFile{cow: d.cow}, fs.StableAttr{Mode: syscall.S_IFREG}), false)
}

// A diskFile is the disk as a file.
type diskFile struct {
	fs.Inode
	cow *Cow
}

var (
	_ fs.NodeOnAdder   = (*diskDir)(nil)
	_ fs.NodeGetattrer = (*diskFile)(nil)
	_ fs.NodeOpener    = (*diskFile)(nil)
	_ fs.NodeReader    = (*diskFile)(nil)
	_ fs.NodeWriter    = (*diskFile)(nil)
	_ fs.NodeAllocater = (*diskFile)(nil)
	_ fs.NodeFsyncer   = (*diskFile)(nil)
)

// Getattr implements fs.NodeGetattrer.
func (f *diskFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = syscall.S_IFREG | 0o600
	out.Size = uint64(f.cow.Size())
	out.Blocks = (out.Size + 511) / 512
	return 0
}

// Open implements fs.NodeOpener.
func (f *diskFile) Open(_ context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

// Read implements fs.NodeReader.
func (f *diskFile) Read(_ context.Context, _ fs.FileHandle, p []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	p = p[:max(0, min(int64(len(p)), f.cow.Size()-off))]
	if _, err := f.cow.ReadAt(p, off); err != nil && len(p) > 0 {
		return nil, syscall.EIO
	}
	return fuse.ReadResultData(p), 0
}

// Write implements fs.NodeWriter.
func (f *diskFile) Write(_ context.Context, _ fs.FileHandle, p []byte, off int64) (uint32, syscall.Errno) {
	n, err := f.cow.WriteAt(p, off)
	return uint32(n), errnoOf(err)
}

// Allocate implements fs.NodeAllocater: what the kernel discards or wants to be
// zeros is zeros.
func (f *diskFile) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	const zero = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_ZERO_RANGE
	if mode&zero == 0 || mode&^(zero|unix.FALLOC_FL_KEEP_SIZE) != 0 {
		return syscall.EOPNOTSUPP
	}
	return errnoOf(f.cow.Zero(partition.Extent{Start: int64(off), Length: int64(size)}))
}

// Fsync implements fs.NodeFsyncer. A copy need not survive this machine: what
// was written is in the scratch file for all who ask, and what could not be
// written was told to whoever wrote it.
func (f *diskFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	if f.cow.Err() != nil {
		return syscall.EIO
	}
	return 0
}

// errnoOf returns what the kernel is told.
func errnoOf(err error) syscall.Errno {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, unix.ENOSPC):
		return syscall.ENOSPC
	}
	return syscall.EIO
}
