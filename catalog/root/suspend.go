package root

import (
	"context"
	"errors"
	"fmt"
	"os"

	"slipcast/partition/fsmap"
)

// checkAwake refuses a system that sleeps in a swap file: its file systems are
// open, and what is written to them would be lost or destroy them when it wakes
// up. To find out, all is mounted as it is, and nothing of it is written.
func (m *mounting) checkAwake(ctx context.Context) error {
	if len(m.sys.swaps) == 0 {
		return nil
	}
	look := &mounting{volumes: m.volumes, sys: m.sys, dir: m.dir, opt: m.opt, peek: true}
	look.opt.ReadOnly = true
	err := onThread(func() error {
		r, err := look.mountAll()
		if err != nil {
			return err
		}
		for _, path := range m.sys.swaps {
			err = errors.Join(err, r.checkSwapFile(ctx, path))
		}
		return errors.Join(err, r.release())
	})
	return errors.Join(err, look.released())
}

// CheckAwake refuses a root whose system sleeps in a swap file that its
// etc/fstab names, as Mount does. A root that somebody else has mounted does
// not tell of swap areas beside it.
func (r *Root) CheckAwake(ctx context.Context) error {
	text, err := r.readFstab()
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, path := range swapFiles(text) {
		err = errors.Join(err, r.checkSwapFile(ctx, path))
	}
	return err
}

// checkSwapFile refuses a swap file with a suspended system in it. One that is
// not there, or lies on a volume that is not on the disk, has none.
func (r *Root) checkSwapFile(ctx context.Context, path string) error {
	f, err := r.Open(path)
	var absent *AbsentError
	if errors.Is(err, os.ErrNotExist) || errors.As(err, &absent) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	found, err := fsmap.Read(ctx, f, info.Size(), fsmap.Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if found.Type == "swsuspend" {
		return &RefusedError{path, Suspended, "a suspended Linux is in this swap file; it must be started and shut down", nil}
	}
	return nil
}

// fit refuses a volume that cannot be mounted as it is asked for.
func (m *mounting) fit(v *probed) error {
	if m.peek && v.refused == nil {
		return nil
	}
	return v.fit(m.opt)
}
