package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"slipcast/image"
	"slipcast/internal/progress"
)

func newRestoreCmd(env *env) *cobra.Command {
	var opt restoreOptions
	var flags imageFlags
	cmd := &cobra.Command{
		Use:   "restore IMAGE TARGET",
		Short: "Write an image to a disk, a partition or a file",
		Long: `Restore writes IMAGE to TARGET and checks every chunk before it is written. The
partition table comes last, so that a restore that did not end leaves no disk
that looks like a good one. All data on TARGET is lost. Off a terminal, restore
refuses to start without --yes.

TARGET may be larger than the captured disk, or smaller if all that is in use
fits. A TARGET that is a new or empty file becomes as large as the disk; a file
with a size is written like a disk of that size. --grow enlarges ext2, ext3,
ext4, XFS and btrfs; any other file system is left as it is, and said so.

IMAGE may also be the raw bytes of a disk, as they are or compressed with zstd,
gzip or xz. Nothing is known of what is in use in these, and nothing checks them
but what their compression has; --discard, --partition and --verify do not work
with them.

` + imageHelp,
		Example: `  slipcast restore room-12.img.zst /dev/sda
  slipcast restore --yes --delta room-12.img.zst /dev/sda
  ssh server cat room-12.img.zst | slipcast restore --yes - /dev/sda
  slipcast restore --partition 2 room-12.img.zst /dev/sda2
  slipcast restore room-12@3 /dev/sda
  slipcast restore https://server/images/room-12.img.zst /dev/sda`,
		Args: operands("IMAGE", "TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRestore(cmd.Context(), env, args[0], args[1], opt, &flags)
		},
	}
	addOverwriteFlags(cmd, &opt)
	addImageFlags(cmd, &flags)
	cmd.Flags().Var((*partitionNumber)(&opt.partition), "partition", "restore only partition `N` of IMAGE, into the partition TARGET")
	return cmd
}

// runRestore restores the image at path to the target at dst.
func runRestore(ctx context.Context, env *env, path, dst string, opt restoreOptions, flags *imageFlags) error {
	if dst == "-" {
		return usagef("restore: TARGET must be a disk, a partition or a file; zstd -dc %s writes the raw disk to a pipe", path)
	}
	r := &restoring{path: path, flags: flags, began: time.Now()}
	r.overwrite = overwrite{env: env, dst: dst, opt: opt, again: "restore it again before it is used"}
	defer r.close()
	err := r.open(ctx)
	if err == nil {
		err = r.run(ctx)
	}
	if err != nil {
		return fmt.Errorf("restoring %s to %s: %w", path, dst, err)
	}
	return nil
}

// A restoring is one restore under way. Exactly one of image, stream and
// foreign is set once it is open.
type restoring struct {
	overwrite
	path  string
	flags *imageFlags
	began time.Time

	file    io.Closer // what is read; nil for standard input
	keep    []string  // files that must survive
	remote  bool      // it comes from a web server
	image   *image.Image
	stream  *image.Stream
	foreign *image.Foreign
}

// open opens the image, so that the target is not touched for one that is none.
func (r *restoring) open(ctx context.Context) error {
	if r.path == "-" {
		in, err := r.env.imageInput(ctx)
		if err != nil {
			return err
		}
		return r.openStream(in, -1)
	}
	switch {
	case isRemote(r.path):
		f, err := openRemoteFile(ctx, r.path, r.flags)
		if err != nil {
			return err
		}
		f.ahead.exact = r.opt.delta // which chunks come is not known before
		r.remote = true
		return r.openRandom(f)
	case isStored(r.path):
		im, err := openStoredImage(r.path, r.flags)
		if err != nil {
			return err
		}
		r.file, r.image, r.m = im, im.Image, &im.Manifest
		return nil
	}
	return r.openLocal(ctx)
}

// openLocal opens an image in a file or pipe.
func (r *restoring) openLocal(ctx context.Context) error {
	f, err := os.Open(r.path)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	r.keep = append(r.keep, r.path)
	if err != nil { // a pipe
		r.file = f
		return r.openStream(newInput(ctx, f), -1)
	}
	return r.openRandom(&localFile{f, size})
}

// openRandom opens an image that can be read at random.
func (r *restoring) openRandom(f rawImage) error {
	r.file = f
	im, err := image.Open(f, f.Size())
	if errors.Is(err, image.ErrNotImage) {
		return r.openStream(io.NewSectionReader(f, 0, f.Size()), f.Size())
	}
	if err == nil {
		r.image, r.m = im, &im.Manifest
	}
	return err
}

// openStream opens an image that is read from front to back. size is -1 if it
// is not known.
func (r *restoring) openStream(in io.Reader, size int64) (err error) {
	buffered := bufio.NewReaderSize(in, 256<<10)
	if start, _ := buffered.Peek(image.ProbeSize); image.IsImage(start) {
		if r.stream, err = image.OpenStream(buffered); err == nil {
			r.m = &r.stream.Manifest
		}
		return err
	}
	if r.foreign, err = image.OpenForeign(buffered, size); err != nil {
		return err
	}
	r.raw = r.foreign.Size
	return r.checkForeign()
}

// checkForeign refuses what needs a manifest.
func (r *restoring) checkForeign() error {
	for _, f := range []struct {
		given bool
		name  string
	}{{r.opt.partition != 0, "partition"}, {r.opt.verify, "verify"}, {r.opt.discard, "discard"}} {
		if f.given {
			return usagef("--%s needs an image that slipcast made; this one is just the bytes of a disk (%s)", f.name, r.foreign.Kind)
		}
	}
	return nil
}

func (r *restoring) close() {
	if r.file != nil {
		r.file.Close()
	}
}

// run checks the target, asks, and restores.
func (r *restoring) run(ctx context.Context) error {
	return r.hold(func() error { return r.overwriteTarget(ctx) }, r.keep...)
}

// overwriteTarget asks, and restores.
func (r *restoring) overwriteTarget(ctx context.Context) error {
	if err := r.checkFit(); err != nil {
		return err
	}
	if !r.opt.yes {
		if err := r.env.confirmTarget(ctx, r.dst, r.target); err != nil {
			return err
		}
	}
	stats, err := r.write(ctx)
	if err != nil {
		return r.failed(ctx, err)
	}
	r.restored = true
	r.show(stats)
	return r.after(ctx, stats)
}

// write does the work.
func (r *restoring) write(ctx context.Context) (stats image.RestoreStats, err error) {
	opt := r.options()
	if r.remote && r.opt.delta {
		opt.Workers = max(runtime.GOMAXPROCS(0), remoteConns) // they wait for the network more than they work
	}
	if err := r.prepare(&opt); err != nil {
		return stats, err
	}
	if err := r.target.begin(); err != nil {
		return stats, err
	}
	r.meter = r.env.meter("restoring", "restore", r.total())
	opt.Progress = func(n int64) { r.meter.Add(n) }
	opt.Stage = func(name string, total int64) {
		r.meter.Done(nil)
		r.meter = r.env.meter("verifying", name, total)
	}
	switch {
	case r.image != nil:
		stats, err = image.Restore(ctx, r.image, r.target, opt)
	case r.stream != nil:
		stats, err = image.RestoreStream(ctx, r.stream, r.target, opt)
	default:
		stats, err = r.foreign.Restore(ctx, r.target, opt)
	}
	r.meter.Done(err)
	return stats, err
}

// show tells how the restore ended.
func (r *restoring) show(stats image.RestoreStats) {
	took := time.Since(r.began)
	o := map[string]any{
		"type": "restored", "image": r.path, "target": r.dst, "written_bytes": stats.Written,
		"chunks": stats.Chunks, "kept_chunks": stats.Kept, "table_moved": stats.Moved,
		"verified": r.opt.verify && r.m != nil, "seconds": took.Seconds(),
	}
	if r.m == nil {
		r.env.sum(fmt.Sprintf("restored %s to %s in %s", r.path, r.dst, speed(stats.Written, took)),
			fact{"written", progress.Bytes(stats.Written)},
			fact{"checked", "flushed; the image has no digests, its format is " + r.foreign.Kind})
		o["format"] = r.foreign.Kind
		r.env.result(o, false)
		return
	}
	used := r.total()
	o["used_bytes"], o["digest"] = used, r.m.Digest.String()
	r.env.sum(fmt.Sprintf("restored %s to %s in %s", r.path, r.dst, speed(used, took)),
		fact{"in use", progress.Bytes(used)}, fact{"written", progress.Bytes(stats.Written)},
		fact{"checked", r.checks(stats)}, fact{"digest", r.m.Digest.String()})
	r.noteCut(stats)
	r.env.result(o, false)
}
