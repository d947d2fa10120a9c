package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"slipcast/image/store"
)

func newStoreCmd(env *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Keep many images that share their data in one folder",
		Long: `A store is a folder of images. What two images have in common lies there once, so
that thirty nightly images of a room take little more than one. Restore, verify,
inspect, mount, send and serve read from it by NAME or NAME@VERSION; NAME alone
is the newest version.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("store: unknown command %q; slipcast help store lists them", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usagef("store: what to do is missing; slipcast help store lists what there is")
		},
	}
	cmd.AddCommand(newStoreInitCmd(env), newStoreAddCmd(env), newStoreListCmd(env), newStoreRemoveCmd(env), newStoreGCCmd(env), newStoreVerifyCmd(env),
		newStoreMirrorCmd(env), newStoreExportCmd(env), newStoreImportCmd(env))
	return cmd
}

func newStoreInitCmd(env *env) *cobra.Command {
	var where storeFlag
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a store of a new or empty folder",
		Long: `Init makes the folder of --store, which must be empty if it is there, a store. Its
file system must know hard links, as ext4, XFS, btrfs and ZFS do.`,
		Example: "  slipcast store init\n  slipcast store init --store /srv/images",
		Args:    operands(),
		RunE: func(*cobra.Command, []string) error {
			if err := where.settle(); err != nil {
				return err
			}
			s, err := store.Init(where.dir)
			if err != nil {
				return fmt.Errorf("making a store: %w", err)
			}
			env.say("made a store in %s", s.Dir())
			env.result(map[string]any{"type": "store", "store": s.Dir()}, false)
			return nil
		},
	}
	addStoreFlag(cmd, &where)
	return cmd
}

// entryObject returns an image of a store for programs.
func entryObject(kind string, e store.Entry) map[string]any {
	return map[string]any{
		"type": kind, "image": e.Ref.String(), "name": e.Name, "version": e.Version, "digest": e.Digest.String(),
		"added": e.Added.Format("2006-01-02T15:04:05Z"), "disk_bytes": e.DiskSize, "image_bytes": e.ImageSize,
	}
}
