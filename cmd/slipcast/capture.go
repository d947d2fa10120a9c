package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/image"
	"slipcast/internal/blockdev"
	"slipcast/internal/progress"
	"slipcast/partition"
)

type captureOptions struct {
	level         string
	partition     int
	parent        string
	from          *imageFlags // for the parent
	onReadError   string
	skipSwapfiles bool
	force         bool
}

func newCaptureCmd(env *env) *cobra.Command {
	opt := captureOptions{from: new(imageFlags)}
	cmd := &cobra.Command{
		Use:   "capture SOURCE IMAGE",
		Short: "Turn a disk, a partition or a file into an image",
		Long: `Capture writes the bytes of SOURCE that are in use to IMAGE. It knows the used
blocks of ext2, ext3, ext4, XFS, btrfs, NTFS, FAT, exFAT and F2FS, and of Linux
swap; everything else, and whatever is damaged or cannot be trusted, is captured
whole and said so. SOURCE must not be mounted. It is only read.

IMAGE is an ordinary .zst file: zstd -dc IMAGE gives the raw disk. It appears
under its name when it is complete.

The IMAGE of --parent may also be NAME or NAME@VERSION in the store of --store, or
a URL; slipcast help restore says more.`,
		Example: `  slipcast capture /dev/sda room-12.img.zst
  slipcast capture /dev/sda - | ssh server 'cat > room-12.img.zst'
  slipcast capture --partition 2 /dev/sda root.img.zst
  slipcast capture --parent monday.img.zst /dev/sda tuesday.img.zst`,
		Args: operands("SOURCE", "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCapture(cmd.Context(), env, args[0], args[1], opt)
		},
	}
	f := cmd.Flags()
	f.StringVar(&opt.level, "level", "default", "compress at `LEVEL`: "+strings.Join(image.Levels(), ", ")+"; best takes 34 MiB of memory for each processor")
	f.Var((*partitionNumber)(&opt.partition), "partition", "capture only partition `N` of SOURCE")
	f.StringVar(&opt.parent, "parent", "", "copy what did not change from this older `IMAGE` of the same disk")
	addImageFlags(cmd, opt.from)
	cmd.ValidArgsFunction = nil // IMAGE is a new file
	f.StringVar(&opt.onReadError, "on-read-error", "stop", "where SOURCE cannot be read, `WHAT` to do: stop, or skip (zeros, listed in the image)")
	f.BoolVar(&opt.skipSwapfiles, "skip-swapfiles", false, "leave out the contents of page and hibernation files (NTFS, ext4)")
	f.BoolVar(&opt.force, "force", false, "replace IMAGE if it exists")
	completeWords(cmd, "level", image.Levels()...)
	completeWords(cmd, "on-read-error", "stop", "skip")
	return cmd
}

// runCapture captures source into the image file at path.
func runCapture(ctx context.Context, env *env, source, path string, opt captureOptions) error {
	level, err := image.ParseLevel(opt.level)
	if err != nil {
		return usagef("capture: --level: %w", err)
	}
	if opt.onReadError != "stop" && opt.onReadError != "skip" {
		return usagef("capture: --on-read-error is stop or skip, not %q", opt.onReadError)
	}
	if source == "-" {
		return usagef("capture: SOURCE must be a disk, a partition or a file; a pipe cannot be read at random")
	}
	err = captureTo(ctx, env, source, path, image.CaptureOptions{
		Level: level, SkipReadErrors: opt.onReadError == "skip",
	}, opt)
	if err != nil {
		return fmt.Errorf("capturing %s to %s: %w", source, path, err)
	}
	return nil
}

func captureTo(ctx context.Context, env *env, source, path string, how image.CaptureOptions, opt captureOptions) error {
	began := time.Now()
	if err := checkNewImage(env, source, path, opt); err != nil {
		return err
	}
	src, err := openSource(source, opt.partition)
	if err != nil {
		return err
	}
	defer src.Close()
	if opt.parent != "" {
		parent, err := openImageFile(ctx, opt.parent, opt.from)
		if err != nil {
			return fmt.Errorf("parent %s: %w", opt.parent, err)
		}
		defer parent.Close()
		how.Parent = parent.Image
	}
	out, err := createImage(env, path)
	if err != nil {
		return err
	}
	defer out.discard()
	layout, err := image.Scan(ctx, src, src.scanOptions(opt.skipSwapfiles))
	if err != nil {
		return err
	}
	env.showLayout(source, src.describe(), layout)
	meter := env.meter("capturing", "capture", layout.Used.Size())
	how.Progress = meter.Add
	how.Origin = image.Origin{Time: began, Tool: program(), Source: src.identity()}
	m, stats, err := image.Capture(ctx, out, src, layout, how)
	if err == nil {
		err = out.commit()
	}
	meter.Done(err)
	if err != nil {
		return err
	}
	env.showCaptured(source, path, m, stats, time.Since(began))
	if len(m.ReadErrors) > 0 {
		return &partError{fmt.Errorf("%s could not be read and are zeros in the image; slipcast inspect lists where",
			progress.Bytes(m.ReadErrors.Size()))}
	}
	return nil
}

// checkNewImage refuses an image that is in the way, or that would replace
// what it is made of.
func checkNewImage(env *env, source, path string, opt captureOptions) error {
	if path == "-" {
		if isTerminal(env.stdout) {
			return usagef("standard output is a terminal; redirect it, or name a file")
		}
		return nil
	}
	for _, other := range []string{source, opt.parent} {
		if other != "" && sameFile(other, path) {
			return &refusal{fmt.Sprintf("it would overwrite %s, which it is made from", other)}
		}
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return &refusal{fmt.Sprintf("%s is not a plain file", path)}
	case err != nil && amongDevices(path):
		return &refusal{fmt.Sprintf("%s does not exist, and an image does not belong among the devices", path)}
	case exists(path) && !opt.force:
		return &refusal{fmt.Sprintf("%s exists; --force replaces it", path)}
	}
	return nil
}

// amongDevices tells whether path is where the nodes of devices are, which is
// memory.
func amongDevices(path string) bool {
	path, err := filepath.Abs(path)
	return err == nil && strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/dev/shm/")
}

// showCaptured tells how a capture ended.
func (e *env) showCaptured(source, path string, m *image.Manifest, s image.CaptureStats, took time.Duration) {
	facts := []fact{{"in use", progress.Bytes(m.Used.Size())}, {"image", progress.Bytes(s.Written)}}
	if m.Origin.Parent != "" {
		facts = append(facts, fact{"parent", fmt.Sprintf("%d of %s copied from it", s.Reused, count(s.Chunks, "chunk"))})
	}
	facts = append(facts, fact{"digest", m.Digest.String()})
	e.sum(fmt.Sprintf("captured %s to %s in %s", source, path, speed(m.Used.Size(), took)), facts...)
	e.result(map[string]any{
		"type": "captured", "source": source, "image": path, "digest": m.Digest.String(),
		"disk_bytes": m.Size, "used_bytes": m.Used.Size(), "image_bytes": s.Written,
		"chunks": s.Chunks, "zero_chunks": s.Zero, "stored_chunks": s.Stored, "reused_chunks": s.Reused,
		"read_errors": extentObjects(m.ReadErrors), "seconds": took.Seconds(),
	}, path == "-")
}

// extentObjects returns x for programs.
func extentObjects(x partition.Extents) []map[string]any {
	list := []map[string]any{}
	for _, e := range x {
		list = append(list, map[string]any{"start": e.Start, "length": e.Length})
	}
	return list
}

// completeWords completes the values of a flag.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return words, cobra.ShellCompDirectiveNoFileComp
	})
	if err != nil {
		panic(err) // the flag's name is wrong
	}
}

var (
	_ image.Source = (*blockdev.Device)(nil)
	_ image.Target = (*blockdev.Device)(nil)
	_ io.Writer    = (*newImage)(nil)
)
