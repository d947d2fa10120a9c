package fleet

import (
	"context"
	"io"
	"net"

	"slipcast/agent/wire"
)

// An Image is an image of the server's store.
type Image struct {
	Ref    string `json:"image"`  // NAME@VERSION
	Digest string `json:"digest"` // hexadecimal
	Need   int64  `json:"need_bytes"`
}

// Images is the server's store of images. Its methods are called from many
// goroutines.
type Images interface {
	// Resolve returns the image that NAME or NAME@VERSION means now. The error
	// wraps [ErrNotFound] if there is none of that name.
	Resolve(ctx context.Context, ref string) (Image, error)

	// Put reads a new version of the image NAME from r to its end.
	Put(ctx context.Context, name string, r io.Reader) (Image, error)

	// List returns all images, the newest first.
	List(ctx context.Context) ([]Image, error)
}

// Sessions are the multicast sessions of the server.
type Sessions interface {
	// Session returns the session that brings image to the machines of a batch,
	// and starts it if there is none. It does not wait for anybody.
	Session(ctx context.Context, batch, image string, room Room) (wire.Session, error)

	// Over tells that no machine of a batch needs its session any more. It is
	// called for batches that have none, too.
	Over(batch string)
}

// A Room is how many machines a session is still for.
type Room struct {
	Booting int // have not said hello yet
	AtWork  int // have; some of them may have the image already
}

// A Waker switches a machine on by Wake-on-LAN.
type Waker func(ctx context.Context, mac net.HardwareAddr) error
