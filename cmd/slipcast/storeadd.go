package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"slipcast/image/store"
	"slipcast/internal/progress"
)

func newStoreAddCmd(env *env) *cobra.Command {
	var where storeFlag
	var version string
	cmd := &cobra.Command{
		Use:   "add IMAGE NAME",
		Short: "Bring an image into the store",
		Long: `Add checks every chunk of IMAGE, a file or - for standard input, and brings it into
the store as the newest version of NAME. Data that the store has is not written
again. The image is there when all of it is; whatever ends add before that
leaves the store as it was.

NAME has letters, digits and ._-, and does not end like a file (.zst, .img).
Without --version the version is the next whole number.`,
		Example: `  slipcast store add room-12.img.zst room-12
  slipcast capture /dev/sda - | slipcast store add - room-12`,
		Args: operands("IMAGE", "NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runStoreAdd(cmd.Context(), env, args[0], store.Ref{Name: args[1], Version: version}, &where); err != nil {
				return fmt.Errorf("adding %s as %s: %w", args[0], args[1], err)
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) == 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			return where.names(), cobra.ShellCompDirectiveNoFileComp
		},
	}
	addStoreFlag(cmd, &where)
	cmd.Flags().StringVar(&version, "version", "", "call the version `VERSION`")
	return cmd
}

// runStoreAdd brings the image at path into the store.
func runStoreAdd(ctx context.Context, env *env, path string, r store.Ref, where *storeFlag) error {
	began := time.Now()
	if _, err := store.ParseRef(r.String()); err != nil {
		return &usageError{err}
	}
	s, err := where.open()
	if err != nil {
		return err
	}
	added, used, err := addToStore(ctx, env, s, path, r)
	if err != nil {
		return err
	}
	took := time.Since(began)
	env.sum(fmt.Sprintf("added %s as %v in %s", path, added.Ref, speed(used, took)),
		fact{"in use", progress.Bytes(used)},
		fact{"new", fmt.Sprintf("%d of %s, %s", added.New, count(added.Chunks, "chunk"), progress.Bytes(added.Written))},
		fact{"digest", added.Digest.String()})
	o := entryObject("added", added.Entry)
	maps.Copy(o, map[string]any{
		"source": path, "chunks": added.Chunks, "new_chunks": added.New, "written_bytes": added.Written,
		"used_bytes": used, "seconds": took.Seconds(),
	})
	env.result(o, false)
	return nil
}

// addToStore adds an image, and returns its bytes in use, too.
func addToStore(ctx context.Context, env *env, s *store.Store, path string, r store.Ref) (store.Added, int64, error) {
	opt := store.AddOptions{Version: r.Version}
	if path == "-" {
		in, err := env.imageInput(ctx)
		if err != nil {
			return store.Added{}, 0, err
		}
		return addStream(ctx, env, s, in, r.Name, opt)
	}
	if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		f, err := os.Open(path)
		if err != nil {
			return store.Added{}, 0, err
		}
		defer f.Close()
		return addStream(ctx, env, s, newInput(ctx, f), r.Name, opt)
	}
	f, err := openLocal(path)
	if err != nil {
		return store.Added{}, 0, err
	}
	im, err := openRaw(f)
	if err != nil {
		return store.Added{}, 0, err
	}
	defer im.Close()
	used := im.Used.Size()
	meter := env.meter("adding", "add", used)
	opt.Progress = meter.Add
	added, err := s.Add(ctx, im.Image, r.Name, opt)
	meter.Done(err)
	return added, used, err
}

// addStream adds an image from a pipe. How much is in use is known when its head
// has come.
func addStream(ctx context.Context, env *env, s *store.Store, in io.Reader, name string, opt store.AddOptions) (store.Added, int64, error) {
	var used atomic.Int64
	meter := env.meter("adding", "add", 0)
	opt.Progress = func(n int64) { used.Add(n); meter.Add(n) }
	added, err := s.AddStream(ctx, in, name, opt)
	meter.Done(err)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return added, used.Load(), err
}
