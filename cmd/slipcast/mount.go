package main

import (
	"context"
	"fmt"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"github.com/spf13/cobra"

	"slipcast/image"
)

func newMountCmd(env *env) *cobra.Command {
	var flags imageFlags
	cmd := &cobra.Command{
		Use:   "mount IMAGE DIR",
		Short: "Show the disk in an image as raw files, read only",
		Long: `Mount shows the disk in IMAGE as the file DIR/disk.img and its partitions as
DIR/p1.img, DIR/p2.img, ... until it is interrupted or DIR is unmounted. They
can be read anywhere, which decompresses only the chunks that are read; each
is checked, and named on stderr if it is damaged. A partition is opened like
any raw one:

  mount -o ro,loop DIR/p2.img /mnt

` + imageHelp,
		Example: "  slipcast mount room-12.img.zst /tmp/room-12",
		Args:    operands("IMAGE", "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runMount(cmd.Context(), env, args[0], args[1], &flags); err != nil {
				return fmt.Errorf("mounting %s at %s: %w", args[0], args[1], err)
			}
			return nil
		},
	}
	addImageFlags(cmd, &flags)
	return cmd
}

// runMount serves the image at path under dir until ctx ends or somebody
// unmounts dir.
func runMount(ctx context.Context, env *env, path, dir string, flags *imageFlags) error {
	im, err := openImageFile(ctx, path, flags)
	if err != nil {
		return err
	}
	defer im.Close()
	disk, err := image.NewReader(im.Image)
	if err != nil {
		return err
	}
	defer disk.Close()
	shown := &mountedDisk{ReaderAt: disk, told: map[string]bool{}, failed: func(err error) { env.note(path, err.Error()) }}
	timeout := time.Hour // nothing ever changes
	server, err := fs.Mount(dir, newImageDir(im.Image, shown), &fs.Options{
		AttrTimeout: &timeout, EntryTimeout: &timeout,
		MountOptions: fuse.MountOptions{
			FsName: path, Name: "slipcast", Options: []string{"ro"}, DirectMount: true, MaxReadAhead: 1 << 20,
		},
	})
	if err != nil {
		return err
	}
	env.say("mounted %s at %s; Ctrl-C or umount %s ends it", path, dir, dir)
	env.result(map[string]any{"type": "mounted", "image": path, "dir": dir, "digest": im.Digest.String()}, false)
	return serveMount(ctx, env, server, dir)
}

// serveMount waits until dir is unmounted, or unmounts it when ctx ends. While
// somebody has a file open below dir, it goes on trying.
func serveMount(ctx context.Context, env *env, server *fuse.Server, dir string) error {
	gone := make(chan struct{})
	go func() { // ends with the mount, which is awaited below
		server.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	for told := false; ; told = true {
		err := server.Unmount()
		if err == nil {
			<-gone
			return nil
		}
		if !told {
			env.note(dir, fmt.Sprintf("it is still in use; waiting (%v)", err))
		}
		select {
		case <-gone:
			return nil
		case <-time.After(time.Second):
		}
	}
}
