package multicast

import (
	"context"
	"errors"
)

// A Source is what a session brings to its receivers. Its methods are safe for
// concurrent use, and always give the same.
type Source interface {
	// Preface returns what a receiver must know before it can take frames, at
	// least their lengths. It is not changed by the caller.
	Preface() []byte

	// Frames returns the number of frames.
	Frames() int

	// FrameSize returns the length of frame n in bytes, 1 to 17 MiB.
	FrameSize(n int) int

	// ReadFrame reads frame n into buf, which it grows as needed, and returns
	// it.
	ReadFrame(n int, buf []byte) ([]byte, error)
}

// A Sink takes the frames of a session.
type Sink interface {
	// Prepare is given the preface, once, before any frame, and may keep it. It
	// may take long, to compare a disk; the session does not wait for it for
	// ever.
	Prepare(ctx context.Context, preface []byte) (Plan, error)

	// PutFrame is given each frame that is lacking, once, in no particular
	// order, from several goroutines at once. It keeps no reference to frame. An error that
	// wraps [ErrBadFrame] says that the frame is not what it should be, and
	// must come again; any other error ends the receiver.
	PutFrame(ctx context.Context, n int, frame []byte) error

	// Finish is called once, after the last frame. When it returns nil, all is
	// in its place for good.
	Finish(ctx context.Context) error
}

// A Plan is what a receiver learns from the preface.
type Plan struct {
	Sizes func(n int) int  // length of frame n in bytes
	Lacks func(n int) bool // whether frame n must come
	Name  []byte           // of the content, as the preface has it
	Annex bool             // Sizes and Lacks tell of the frames of [Offer.Annex], too, which are numbered on behind the others; else none of them comes
}

// ErrBadFrame reports a frame that is not what it should be.
var ErrBadFrame = errors.New("bad frame")
