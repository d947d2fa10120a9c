package debian

import "errors"

var (
	// ErrNoKeyring reports that the host has no keyring of the Debian archive.
	// On Debian and Ubuntu it is in the package debian-archive-keyring.
	ErrNoKeyring = errors.New("no keyring of the Debian archive")

	// ErrUntrusted reports a release file that no key of the keyring signed.
	ErrUntrusted = errors.New("no valid signature of a key in the keyring")

	// ErrExpired reports a release file that the mirror gives although it says
	// itself that it is no longer valid: the mirror is stale, someone keeps
	// news from us, or the clock of this machine is wrong.
	ErrExpired = errors.New("no longer valid")

	// ErrNoPackage reports a package that the lists do not have.
	ErrNoPackage = errors.New("no such package")

	// ErrDigest reports a file that is not the one that was signed for.
	ErrDigest = errors.New("digest mismatch")

	// ErrMalformed reports a file that is not in its format.
	ErrMalformed = errors.New("malformed")
)
