package bake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"slipcast/image"
	"slipcast/partition"
)

// CopyOptions say how a copy is made. The zero value is the default.
type CopyOptions struct {
	// Scratch is a folder with room for what is written to the copy and for
	// what programs write; empty is os.TempDir.
	Scratch string
}

// A Copy is a copy of the disk in an image that can be written to. It must be
// closed. Its methods must not be called by two goroutines at once.
type Copy struct {
	im      *image.Image
	reader  *image.Reader
	cow     *Cow
	scratch *scratch
}

// NewCopy makes a copy of the disk in im, which takes no time and no room. im
// must stay open until the copy is closed. An image that lacks bytes, because
// they could not be read when it was captured, is refused.
func NewCopy(im *image.Image, opt CopyOptions) (*Copy, error) {
	if n := im.ReadErrors.Size(); n > 0 {
		return nil, fmt.Errorf("the image lacks %d bytes that could not be read when it was captured", n)
	}
	s, err := newScratch(opt.Scratch)
	if err != nil {
		return nil, err
	}
	c := &Copy{im: im, scratch: s}
	if err := c.open(); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Copy) open() error {
	f, err := c.scratch.file()
	if err != nil {
		return err
	}
	if c.reader, err = image.NewReader(c.im); err != nil {
		f.Close()
		return err
	}
	if c.cow, err = NewCow(c.reader, c.im.Manifest.Size, f); err != nil {
		f.Close()
	}
	return err
}

// Close throws the copy away.
func (c *Copy) Close() error {
	var err error
	if c.cow != nil {
		err = c.cow.Close()
	}
	if c.reader != nil {
		err = errors.Join(err, c.reader.Close())
	}
	return errors.Join(err, c.scratch.remove())
}

// Disk returns the disk as it is now. It must not be written to while a job
// is being done, and belongs to the Copy.
func (c *Copy) Disk() *Cow { return c.cow }

// Capture writes an image of the copy to w, with the image that it is a copy of as its
// parent. Only what was written to is read, and of that only chunks that
// differ from the parent's are compressed. Parent, Changed and ChunkSize of opt are filled in.
func (c *Copy) Capture(ctx context.Context, w io.Writer, opt image.CaptureOptions) (*image.Manifest, image.CaptureStats, error) {
	layout, err := c.scan(ctx)
	if err != nil {
		return nil, image.CaptureStats{}, fmt.Errorf("looking at the copy of the disk: %w", err)
	}
	opt.Parent, opt.Changed, opt.ChunkSize = c.im, c.cow.Changed, c.im.ChunkSize
	return image.Capture(ctx, w, c.cow, layout, opt)
}

// scan finds out what is on the copy. Every file system that the parent knew the
// used blocks of must be one still.
func (c *Copy) scan(ctx context.Context) (*image.Layout, error) {
	l, err := image.Scan(ctx, c.cow, image.ScanOptions{
		Size: c.cow.Size(), LogicalSector: c.im.LogicalSector, PhysicalSector: c.im.PhysicalSector,
		NoTable: c.im.Table.Kind == partition.None, SkipSwapfiles: leftOut(&c.im.Layout),
	})
	if err != nil {
		return nil, err
	}
	for _, v := range l.Volumes {
		old := c.im.Volume(v.Number)
		if old != nil && (v.Type != old.Type || v.Whole && !old.Whole || v.Dirty && !old.Dirty) {
			return nil, fmt.Errorf("%s: the %s on it is not whole any more: %s", v.Name(), old.Type, strings.Join(v.Notes, "; "))
		}
	}
	return l, nil
}

// leftOut reports whether the contents of swap files were left out when an
// image was captured; then they are in its child, too. Package fsmap notes it.
func leftOut(l *image.Layout) bool {
	for _, v := range l.Volumes {
		for _, note := range v.Notes {
			if strings.HasPrefix(note, "left out ") {
				return true
			}
		}
	}
	return false
}

// volumes returns what may have a file system on the disk. An extended
// partition holds others and has none.
func volumes(l *image.Layout) []volume {
	var list []volume
	for _, v := range l.Volumes {
		w := volume{Start: v.Start, Size: v.Size, Name: v.Name(), Number: v.Number}
		if p := l.Table.Partition(v.Number); p != nil {
			w.PartUUID, w.PartLabel = strings.ToLower(p.UUID), p.Name
		}
		list = append(list, w)
	}
	return list
}
