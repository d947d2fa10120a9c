package fresh

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"slipcast/internal/lab"
)

// A camera copies a disk as it is at each change that Run logs.
type camera struct {
	slog.Handler
	shoot func()
}

func (c camera) Handle(context.Context, slog.Record) error { c.shoot(); return nil }

// After a power cut each file is the old or the new one, and what was told to
// be changed is on the disk: the file behind the loop device has what the
// file system has flushed, and no more.
func TestRootFreshPowerCut(t *testing.T) {
	d := newDisk(t, "24 8300")
	node := lab.Partition(t, d.dev, 1)
	lab.Run(t, "mkfs.ext4", "-q", node)
	dir := lab.Mount(t, node)
	lab.Plant(t, dir, linux())
	lab.Unmount(t, dir)
	old := tree(t, node, nil)
	var copies []string
	shoot := func() {
		copies = append(copies, filepath.Join(t.TempDir(), fmt.Sprintf("%d.raw", len(copies))))
		lab.Run(t, "cp", "--sparse=always", d.file, copies[len(copies)-1])
	}
	log := slog.New(camera{slog.NewTextHandler(t.Output(), nil), shoot})
	result, err := Run(t.Context(), Options{Disk: d.dev, Table: d.table(t), Hostname: "pc1", Fresh: true, Log: log})
	if err != nil || len(copies) != len(result.Changed) || len(copies) < 10 {
		t.Fatalf("Run = %+v, %v, with %d copies", result, err, len(copies))
	}
	now := tree(t, node, nil)
	for i, file := range copies {
		cut := tree(t, lab.Partition(t, lab.Loop(t, file, 512), 1), nil)
		for path, digest := range cut {
			if digest != old[path] && digest != now[path] {
				t.Errorf("after %s: %s is neither the old nor the new one", result.Changed[i], path)
			}
		}
		for _, done := range result.Changed[:i+1] {
			path := done[len("partition 1: "):]
			if cut[path] != now[path] {
				t.Errorf("after %s: %s is not on the disk", result.Changed[i], path)
			}
		}
	}
}
