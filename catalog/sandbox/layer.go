package sandbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cyphar/filepath-securejoin/pathrs-lite"
	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
)

// maxCopy is how much of a file system that overlayfs does not take is copied.
const maxCopy = 1 << 30

// A way is how a file system of the root is shown to programs.
type way string

const (
	overlaid way = "overlaid" // an overlay takes the writes
	copied   way = "copied"   // a copy of all of it
	hidden   way = "hidden"   // an empty folder that cannot be written to
)

// A layer takes what is written to one file system of the root.
type layer struct {
	fs    *root.Filesystem
	way   way
	dir   string     // in the scratch folder: what was written, or the copy
	work  string     // that overlayfs wants
	upper *root.Root // dir, open
}

// needsCopy tells the file systems that overlayfs does not take, since they
// have no links and no owners.
func needsCopy(fs *root.Filesystem) bool { return !fs.Links || !fs.Owners }

// plan decides about the file systems of the root, and copies.
func (o *Overlay) plan(ctx context.Context, copies func(*root.Filesystem) bool) error {
	for i, fs := range o.root.Filesystems() {
		l := &layer{fs: fs, way: overlaid, dir: o.place("upper-" + strconv.Itoa(i)), work: o.place("work-" + strconv.Itoa(i))}
		if copies(fs) {
			used, err := fs.Used()
			if err != nil {
				return err
			}
			l.way = copied
			if used >= maxCopy {
				l.way = hidden
			}
		}
		o.layers = append(o.layers, l)
		if err := o.prepare(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the folders of a layer. The top of an overlay has the owner and
// mode of what it lies over, since that is what programs see.
func (o *Overlay) prepare(ctx context.Context, l *layer) error {
	for _, dir := range []string{l.dir, l.work} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := o.likeTop(l); err != nil {
		return err
	}
	var err error
	if l.upper, err = root.Open(l.dir, "."); err != nil {
		return err
	}
	if l.way == copied {
		return o.copyTree(ctx, l)
	}
	return nil
}

// likeTop makes the top of a layer look like that of its file system, but for
// its label, which may be none that this kernel's policy knows.
func (o *Overlay) likeTop(l *layer) error {
	st, err := o.root.Lstat(l.fs.Path)
	if err != nil {
		return err
	}
	xattrs, err := o.root.Xattrs(l.fs.Path)
	if err != nil {
		return err
	}
	if err := os.Chown(l.dir, int(st.UID), int(st.GID)); err != nil {
		return err
	}
	if err := unix.Chmod(l.dir, st.Mode); err != nil {
		return err
	}
	for _, x := range xattrs {
		if x.Name == root.Label {
			continue
		}
		if err := unix.Lsetxattr(l.dir, x.Name, x.Value, 0); err != nil {
			return fmt.Errorf("%s: %s: %w", l.dir, x.Name, err)
		}
	}
	return nil
}

// mount joins the layers, on a thread in a mount namespace of its own, and
// opens what programs see.
func (o *Overlay) mount() error {
	below, err := os.OpenFile(o.root.Dir(), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer below.Close()
	var paths []string
	for _, l := range o.layers {
		if err := o.mountLayer(below, l); err != nil {
			return fmt.Errorf("%s, %s: %w", l.fs.Path, l.fs.Type, err)
		}
		paths = append(paths, l.fs.Path)
	}
	o.merged, err = root.Open(o.place("merged"), paths...)
	return err
}

// mountLayer mounts one layer at its place in the merged tree.
func (o *Overlay) mountLayer(below *os.File, l *layer) error {
	merged, err := os.OpenFile(o.place("merged"), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer merged.Close()
	point, err := pathrs.OpenatInRoot(merged, l.fs.Path)
	if err != nil {
		return err
	}
	defer point.Close()
	switch l.way {
	case copied:
		return unix.Mount(l.dir, inProc(point), "", unix.MS_BIND, "")
	case hidden:
		return unix.Mount("hidden", inProc(point), "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "size=4k")
	}
	lower, err := pathrs.OpenatInRoot(below, l.fs.Path)
	if err != nil {
		return err
	}
	defer lower.Close()
	return l.overlay(lower, point)
}

// inProc is a path to an open file: what it leads to cannot be exchanged.
func inProc(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// overlay mounts the overlay of a layer. What makes one write to the scratch
// folder wait for the disk is switched off (volatile): after a power cut, it is
// of no use. Without redirect_dir and metacopy all that is different lies in
// the upper folder; without index it need not be known by file handles. That
// the file system below is mounted without devices does not hold for what lies
// over it: a node on the disk would be a device of this machine.
func (l *layer) overlay(lower, point *os.File) error {
	// The driver splits paths at colons and commas; these have none.
	options := []string{"lowerdir=" + inProc(lower), "redirect_dir=off", "metacopy=off", "index=off", "xino=off", "volatile"}
	for name, dir := range map[string]string{"upperdir": l.dir, "workdir": l.work} {
		f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		options = append(options, name+"="+inProc(f))
	}
	slices.Sort(options)
	data := options[0]
	for _, option := range options[1:] {
		data += "," + option
	}
	return unix.Mount("slipcast", inProc(point), "overlay", unix.MS_NODEV, data)
}

// copyTree copies a file system without links and owners into its layer.
func (o *Overlay) copyTree(ctx context.Context, l *layer) error {
	entries, err := o.root.ReadDir(l.fs.Path)
	if err != nil {
		return err
	}
	for _, name := range entries {
		if err := o.copyName(ctx, l, name); err != nil {
			return err
		}
	}
	return nil
}

// copyName copies a file, or a folder with all that is in it.
func (o *Overlay) copyName(ctx context.Context, l *layer, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	from := l.rootPath(name)
	st, err := o.root.Lstat(from)
	if err != nil {
		return err
	}
	to := filepath.Join(l.dir, name)
	switch st.Type {
	case root.Directory:
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
		names, err := o.root.ReadDir(from)
		if err != nil {
			return err
		}
		for _, sub := range names {
			if err := o.copyName(ctx, l, name+"/"+sub); err != nil {
				return err
			}
		}
	case root.File:
		if err := o.copyFile(from, to); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s: a %s on %s", from, st.Type, l.fs.Type)
	}
	return stamp(to, st)
}

// copyFile copies the contents of a file.
func (o *Overlay) copyFile(from, to string) error {
	in, err := o.root.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	return err
}

// stamp gives a copy the owner, mode and time of its original.
func stamp(path string, st root.Stat) error {
	if err := os.Lchown(path, int(st.UID), int(st.GID)); err != nil {
		return err
	}
	if err := unix.Chmod(path, st.Mode); err != nil {
		return err
	}
	t := unix.Timespec{Sec: st.ModTime.Sec, Nsec: st.ModTime.Nsec}
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{t, t}, unix.AT_SYMLINK_NOFOLLOW)
}

// rootPath returns the path in the root of a path in a layer.
func (l *layer) rootPath(path string) string {
	switch {
	case l.fs.Path == ".":
		return path
	case path == ".":
		return l.fs.Path
	}
	return l.fs.Path + "/" + path
}
