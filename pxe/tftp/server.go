package tftp

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"time"
)

// ErrRefused reports a file that this client may not have. Files returns it.
var ErrRefused = errors.New("refused")

// A File is what a transfer sends: Size bytes, read from ReaderAt as they are
// needed, and maybe more than once.
type File struct {
	io.ReaderAt
	Size      int64 // bytes, not negative
	io.Closer       // called once, when the transfer has ended; nil is nothing
}

// The limits of a Server that does not say otherwise.
const (
	defaultTransfers = 512
	defaultPerClient = 16
	defaultDuration  = 30 * time.Minute
)

// A Server serves files by TFTP. Its fields are set before Serve.
//
// A transfer costs a thread and one window of blocks, at most 96 KiB, besides
// what File holds. Beyond its limits the server does not answer: a client asks
// again after its timeout and may find room, where an error would end its boot.
//
// An address that never acknowledges anything may be forged, and its owner be
// flooded by what others ask for in its name. It gets each first answer at
// most four times (1, 2 and 4 seconds apart), 64 first answers at once, and
// then ten a second, and no more than MaxPerClient transfers, so at most one
// block of 512 bytes for a request of about 20.
type Server struct {
	// Files returns what a client asks for. An error that is [fs.ErrNotExist]
	// is told to the client as "file not found", [ErrRefused] and
	// [fs.ErrPermission] as "access violation"; any other one is logged and
	// told without its text. It is called by many goroutines at once, each of
	// which may wait. It must not be nil.
	Files func(ctx context.Context, r Request) (File, error)

	Log          *slog.Logger  // nil is silence
	MaxTransfers int           // at once; 0 is 512
	MaxPerClient int           // at once to one address; 0 is 16
	MaxDuration  time.Duration // of one transfer; 0 is half an hour

	stats counters
}

// Serve answers requests that arrive at conn until ctx is done, and then
// returns nil. All transfers have ended when it returns; those that ctx cuts
// short are not told. conn stays open, and must not be used by others meanwhile.
// Clients are answered from the address that they asked, by ports of their
// own. The error says why conn cannot be read.
func (s *Server) Serve(ctx context.Context, conn *net.UDPConn) error {
	front, err := newFront(conn)
	if err != nil {
		return err
	}
	return s.serve(ctx, front)
}

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return s.Log
}

// or returns n, or what stands for zero.
func or[T int | time.Duration](n, zero T) T {
	if n == 0 {
		return zero
	}
	return n
}

// explain says what a client is told about an error of Files.
func explain(err error) (code, string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return codeNotFound, "file not found"
	case errors.Is(err, ErrRefused), errors.Is(err, fs.ErrPermission):
		return codeAccess, "access violation"
	}
	return codeOther, "the server has trouble with this file"
}
