package main

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// inputStep is how long a read waits before it looks whether it is still
// wanted, in milliseconds.
const inputStep = 100

// An input is a pipe or terminal that is read until its context ends. A plain
// read from either cannot be called off.
type input struct {
	ctx context.Context
	f   *os.File
}

// newInput returns a reader of r that ends with ctx, if r is a file.
func newInput(ctx context.Context, r io.Reader) io.Reader {
	if f, ok := r.(*os.File); ok {
		return &input{ctx, f}
	}
	return r
}

// Read implements io.Reader.
func (i *input) Read(p []byte) (int, error) {
	ready := []unix.PollFd{{Fd: int32(i.f.Fd()), Events: unix.POLLIN}}
	for {
		if err := i.ctx.Err(); err != nil {
			return 0, err
		}
		n, err := unix.Poll(ready, inputStep)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, err
		}
		if n > 0 {
			return i.f.Read(p)
		}
	}
}

// imageInput returns standard input as an image that is read from front to
// back.
func (e *env) imageInput(ctx context.Context) (io.Reader, error) {
	if isTerminal(e.stdin) {
		return nil, usagef("standard input is a terminal; pipe an image into it, or name a file")
	}
	return newInput(ctx, e.stdin), nil
}
