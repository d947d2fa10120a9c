package bootenv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"

	"github.com/klauspost/compress/zstd"
)

// initrdWindow is how far back the compressor looks. The kernel takes windows
// of up to 128 MiB (lib/decompress_unzstd.c) and allocates one; 128 MiB would
// save less than one per cent over 8 MiB.
const (
	initrdWindow    = 8 << 20
	initrdWindowLog = "23"
)

// A compressor packs an initramfs with zstd: with the program of that name if
// this machine has it, which takes twice as long and packs a tenth smaller, else
// with our own.
type compressor struct {
	io.WriteCloser
	packed *bytes.Buffer
	wait   func() error
}

func newCompressor(ctx context.Context) (*compressor, error) {
	c := &compressor{packed: &bytes.Buffer{}}
	path, err := exec.LookPath("zstd")
	if err != nil {
		c.wait = func() error { return nil }
		c.WriteCloser, err = zstd.NewWriter(c.packed, zstd.WithEncoderLevel(zstd.SpeedBestCompression),
			zstd.WithWindowSize(initrdWindow), zstd.WithEncoderConcurrency(1))
		return c, err
	}
	// One thread, so that the same contents make the same bytes.
	cmd := exec.CommandContext(ctx, path, "-q", "-19", "--single-thread", "--zstd=wlog="+initrdWindowLog, "-c")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = c.packed, &said
	if c.WriteCloser, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	c.wait = func() error {
		if err := cmd.Wait(); err != nil {
			return errors.Join(err, errors.New(path+": "+said.String()))
		}
		return nil
	}
	return c, cmd.Start()
}

// finish ends the stream, and returns what it was packed into.
func (c *compressor) finish() (*bytes.Buffer, error) {
	return c.packed, errors.Join(c.Close(), c.wait())
}
