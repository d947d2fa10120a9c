package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
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

// ErrNotReleased reports what the catalog does not let machines have.
var ErrNotReleased = errors.New("not released")

// A Catalog is the signed list of what machines may be given: docs/bundles.md,
// section 7. Its methods are called from many goroutines.
type Catalog interface {
	// Root returns the newest root, for boot environments; nothing if there is no
	// catalog.
	Root(ctx context.Context) ([]byte, error)

	// Allows tells why machines may not have an image, or one of the bundles that
	// [wire.Job.Apply] names: then the error wraps [ErrNotReleased].
	Allows(ctx context.Context, im Image, apply []string) error

	// Ticket signs a job ticket. Time and versions of c are filled in. The error
	// wraps [ErrNotReleased] if this server never can.
	Ticket(ctx context.Context, c trust.Claims) ([]byte, error)
}

// allows is Allows of a Catalog that may be nil: then there is none.
func allows(ctx context.Context, c Catalog, im Image, apply []string) error {
	if c == nil {
		return fmt.Errorf("%w: the server has no catalog", ErrNotReleased)
	}
	return c.Allows(ctx, im, apply)
}

// Sessions are the multicast sessions of the server.
type Sessions interface {
	// Session returns the session that brings the cargo of a batch to its
	// machines, and starts it if there is none. It does not wait for anybody.
	Session(ctx context.Context, batch string, cargo Cargo, room Room) (wire.Session, error)

	// Over tells that no machine of a batch needs its session any more. It is
	// called for batches that have none, too.
	Over(batch string)
}

// A Cargo is what the machines of a batch get.
type Cargo struct {
	Image  Image
	Apply  []string // bundles that come after it, see [wire.Job.Apply]
	Memory int64    // bytes of that of the machines which has the most; 0 if none is known
}

// A Room is how many machines a session is still for.
type Room struct {
	Booting int // have not said hello yet
	AtWork  int // have; some of them may have the image already
}

// A Waker switches a machine on by Wake-on-LAN.
type Waker func(ctx context.Context, mac net.HardwareAddr) error
