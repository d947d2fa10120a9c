package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/image"
	"slipcast/internal/progress"
	"slipcast/partition"
)

type restoreOptions struct {
	yes       bool
	delta     bool
	grow      bool
	discard   bool
	verify    bool
	partition int
}

func newRestoreCmd(env *env) *cobra.Command {
	var opt restoreOptions
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
with them.`,
		Example: `  slipcast restore room-12.img.zst /dev/sda
  slipcast restore --yes --delta room-12.img.zst /dev/sda
  ssh server cat room-12.img.zst | slipcast restore --yes - /dev/sda
  slipcast restore --partition 2 room-12.img.zst /dev/sda2`,
		Args: operands("IMAGE", "TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRestore(cmd.Context(), env, args[0], args[1], opt)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&opt.yes, "yes", false, "overwrite TARGET without asking")
	f.BoolVar(&opt.delta, "delta", false, "read TARGET and write only what differs")
	f.BoolVar(&opt.grow, "grow", false, "extend the last partition and its file system to the end of TARGET")
	f.BoolVar(&opt.discard, "discard", false, "tell TARGET which of its bytes are free (TRIM)")
	f.BoolVar(&opt.verify, "verify", false, "read everything back at the end")
	f.Var((*partitionNumber)(&opt.partition), "partition", "restore only partition `N` of IMAGE, into the partition TARGET")
	return cmd
}

// runRestore restores the image at path to the target at dst.
func runRestore(ctx context.Context, env *env, path, dst string, opt restoreOptions) error {
	if dst == "-" {
		return usagef("restore: TARGET must be a disk, a partition or a file; zstd -dc %s writes the raw disk to a pipe", path)
	}
	r := &restoring{env: env, path: path, dst: dst, opt: opt, began: time.Now()}
	err := r.open(ctx)
	if err == nil {
		err = r.run(ctx)
		r.close()
	}
	if err != nil {
		return fmt.Errorf("restoring %s to %s: %w", path, dst, err)
	}
	return nil
}

// A restoring is one restore under way. Exactly one of image, stream and
// foreign is set once it is open.
type restoring struct {
	env       *env
	path, dst string
	opt       restoreOptions
	began     time.Time

	file    *os.File
	image   *image.Image
	stream  *image.Stream
	foreign *image.Foreign
	m       *image.Manifest // nil for a foreign image
	target  *target
	meter   *progress.Meter
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
	f, err := os.Open(r.path)
	if err != nil {
		return err
	}
	r.file = f
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil { // a pipe
		return r.openStream(newInput(ctx, f), -1)
	}
	r.image, err = image.Open(f, size)
	if errors.Is(err, image.ErrNotImage) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		return r.openStream(f, size)
	}
	if err == nil {
		r.m = &r.image.Manifest
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
	r.foreign, err = image.OpenForeign(buffered, size)
	if err == nil {
		err = r.checkForeign()
	}
	return err
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
func (r *restoring) run(ctx context.Context) (err error) {
	var keep []string
	if r.file != nil {
		keep = append(keep, r.path)
	}
	if r.target, err = openTarget(r.dst, keep...); err != nil {
		return err
	}
	done := false
	defer func() { err = errors.Join(err, r.target.close(done)) }()
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
	done = true
	r.show(stats)
	return r.after(ctx, stats)
}

// checkFit refuses a target that is too small before anybody is asked.
func (r *restoring) checkFit() error {
	size := r.target.Size()
	if r.target.isFile() && size == 0 {
		size = math.MaxInt64
	}
	if r.m == nil {
		if r.foreign.Size > size {
			return &image.TooSmallError{Need: r.foreign.Size, Have: size}
		}
		return nil
	}
	return r.m.CheckFit(size, image.RestoreOptions{Partition: r.opt.partition, TargetSector: r.target.sector()})
}

// failed returns the error of a restore that ended with err, and tells if that
// was too late for the target.
func (r *restoring) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err() // what goes wrong then goes wrong because of it
	}
	if !r.target.touched.Load() {
		return err
	}
	if !r.target.created {
		r.env.note(r.dst, "it is not restored, and what it held is lost; restore it again before it is used")
	}
	if exitCode(ctx, err) == exitRefused { // which means that nothing was written
		return errors.New(err.Error())
	}
	return err
}

// write does the work.
func (r *restoring) write(ctx context.Context) (stats image.RestoreStats, err error) {
	opt := image.RestoreOptions{
		Partition: r.opt.partition, Delta: r.opt.delta, Discard: r.opt.discard, Verify: r.opt.verify,
		Grow: r.opt.grow, TargetSector: r.target.sector(),
	}
	if err := r.prepare(&opt); err != nil {
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

// prepare makes a file ready to be written. One that is overwritten becomes as
// sparse as it can be.
func (r *restoring) prepare(opt *image.RestoreOptions) error {
	switch {
	case !r.target.isFile():
		return nil
	case r.target.Size() == 0:
		opt.Blank, opt.Delta = true, false
		return r.target.start(r.size())
	case opt.Delta:
		return nil
	}
	opt.Blank = r.m != nil // a blank file would take the size of a foreign image
	return r.target.Zero(0, r.target.Size())
}

// size returns the bytes that a new file gets, 0 if they are not known.
func (r *restoring) size() int64 {
	switch {
	case r.m == nil:
		return max(r.foreign.Size, 0)
	case r.opt.partition != 0:
		if p := r.m.Table.Partition(r.opt.partition); p != nil {
			return p.Size
		}
	}
	return r.m.Size
}

// total returns the bytes in use that are restored, 0 if they are not known.
func (r *restoring) total() int64 {
	if r.m == nil {
		return max(r.foreign.Size, 0)
	}
	if p := r.m.Table.Partition(r.opt.partition); p != nil {
		return r.m.UsedIn(p.Extent())
	}
	return r.m.Used.Size()
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
	if stats.Cut != nil {
		r.env.note(r.dst, fmt.Sprintf("partition %d was made smaller, its file system is not: it ends at %s",
			stats.Cut.Number, progress.Bytes(stats.Cut.Size)))
	}
	r.env.result(o, false)
}

// checks lists for people what was checked.
func (r *restoring) checks(stats image.RestoreStats) string {
	list := []string{count(stats.Chunks, "chunk") + " against their digests"}
	if r.opt.delta {
		list[0] += fmt.Sprintf(" (%d there already)", stats.Kept)
	}
	list = append(list, "flushed")
	if r.opt.partition == 0 && r.m.Table.Kind != partition.None {
		list = append(list, "partition table read again")
	}
	if r.opt.verify {
		list = append(list, "everything read back")
	}
	return strings.Join(list, ", ")
}
