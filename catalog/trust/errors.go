package trust

import (
	"errors"
	"fmt"
)

var (
	// ErrNotCatalog reports a folder that has no catalog.
	ErrNotCatalog = errors.New("not a catalog")

	// ErrMalformed reports metadata or a ticket that is not as section 7 of
	// docs/bundles.md says, whoever signed it.
	ErrMalformed = errors.New("malformed")

	// ErrSignature reports what too few of the right keys have signed.
	ErrSignature = errors.New("not signed by the right keys")

	// ErrMismatch reports metadata that are not those that the rest of the
	// catalog speaks of: mixed from two catalogs, or tampered with.
	ErrMismatch = errors.New("does not belong to the rest of the catalog")

	// ErrExpired reports metadata whose time is over.
	ErrExpired = errors.New("expired")

	// ErrRollback reports a catalog that is older than one that is known.
	ErrRollback = errors.New("older than what is known")

	// ErrTicket reports a ticket for another request or another machine.
	ErrTicket = errors.New("not the ticket that was asked for")

	// ErrExists reports a bundle or an image that the catalog has already, with
	// other contents. What is released does not change.
	ErrExists = errors.New("is released already, with other contents")

	// ErrNotFound reports a bundle or an image that the catalog does not have.
	ErrNotFound = errors.New("not in the catalog")

	// ErrKey reports a key that is not the one that is needed, or is damaged.
	ErrKey = errors.New("not the key for this")

	// ErrOnlineKey reports a key that was given as the online key and is another
	// one. It wraps ErrKey.
	ErrOnlineKey = fmt.Errorf("%w: it is not the online key of this catalog", ErrKey)

	// ErrPassphrase reports a passphrase that does not open a key.
	ErrPassphrase = errors.New("wrong passphrase")

	// ErrAuthor reports a bundle that none of the given authors has signed.
	ErrAuthor = errors.New("not signed by any of these authors")
)
