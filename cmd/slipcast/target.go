package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"slipcast/image"
	"slipcast/internal/blockdev"
)

// A target is what is written to.
type target struct {
	*blockdev.Device
	created bool        // by us: it is removed if nothing gets onto it
	growing bool        // a file that becomes as large as what is written to it
	touched atomic.Bool // it no longer holds what it held
	closed  bool

	blank    bool // a file that becomes zeros before anything else is written
	first    sync.Once
	firstErr error
}

// openTarget opens the disk, partition or file at path after all checks. keep
// are files that must survive.
func openTarget(path string, keep ...string) (*target, error) {
	created := !exists(path)
	dev, err := blockdev.OpenTarget(path, blockdev.TargetOptions{Keep: keep})
	if err != nil {
		return nil, err
	}
	return &target{Device: dev, created: created}, nil
}

// isFile tells whether t is a plain file.
func (t *target) isFile() bool { return t.Info().Kind == blockdev.File }

// sector returns the logical sector size, 0 for a file.
func (t *target) sector() int {
	if t.isFile() {
		return 0
	}
	return t.Info().LogicalSector
}

func (t *target) scanOptions() image.ScanOptions {
	return image.ScanOptions{
		Size: t.Size(), LogicalSector: t.sector(), NoTable: t.Info().Kind == blockdev.Partition,
	}
}

// start gives a file without contents the size that it needs; 0 lets it grow.
// A file that has a size is like a disk: it keeps it.
func (t *target) start(size int64) error {
	t.growing = size == 0
	return t.SetSize(size)
}

// begin makes a file read as zeros if it is to, once. Whoever takes a target
// for blank calls it before the end, even where nothing had to be written.
func (t *target) begin() error {
	t.first.Do(func() {
		if t.blank {
			t.touched.Store(true)
			t.firstErr = t.Device.Zero(0, t.Size())
		}
	})
	return t.firstErr
}

// WriteAt implements io.WriterAt. A target that is growing is written by one
// goroutine.
func (t *target) WriteAt(p []byte, off int64) (int, error) {
	t.touched.Store(true)
	if err := t.begin(); err != nil {
		return 0, err
	}
	if end := off + int64(len(p)); t.growing && end > t.Size() {
		if err := t.SetSize(end); err != nil {
			return 0, err
		}
	}
	return t.Device.WriteAt(p, off)
}

// Zero makes a range read as zeros.
func (t *target) Zero(off, n int64) error {
	t.touched.Store(true)
	if err := t.begin(); err != nil {
		return err
	}
	return t.Device.Zero(off, n)
}

// Discard tells the device that a range is free.
func (t *target) Discard(off, n int64) error {
	t.touched.Store(true)
	if err := t.begin(); err != nil {
		return err
	}
	return t.Device.Discard(off, n)
}

// close closes t unless it is closed; a file that was created for nothing is
// removed.
func (t *target) close(done bool) error {
	if t.closed {
		return nil
	}
	t.closed = true
	if t.created && !done {
		os.Remove(t.Info().Path)
	}
	return t.Close()
}

// describe tells people what will be lost.
func (t *target) describe(ctx context.Context) string {
	what := describe(t.Info())
	switch {
	case t.created:
		return "a new file"
	case t.Size() == 0:
		return "an empty file"
	}
	l, err := image.Scan(ctx, t, t.scanOptions())
	if err != nil {
		return what
	}
	var b strings.Builder
	writeLayout(&b, l, "  ")
	return what + "\n" + strings.TrimRight(b.String(), "\n")
}

// confirmTarget shows the target and asks whether all on it may be lost.
func (e *env) confirmTarget(ctx context.Context, path string, t *target) error {
	if !isTerminal(e.stderr) {
		return &refusal{noTerminal}
	}
	fmt.Fprintf(e.stderr, "slipcast: %s: %s\n", path, t.describe(ctx))
	return e.confirm(ctx, fmt.Sprintf("All data on %s will be lost.", path))
}
