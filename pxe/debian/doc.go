// Package debian finds, checks, downloads and unpacks packages of a Debian
// archive, without the help of apt or dpkg.
//
// [Open] reads the release files of some suites of a mirror, checks their
// OpenPGP signatures against a keyring of the host, and reads the lists of
// packages that they name. [Archive.Package] and [Archive.Resolve] look a
// package up, the newest version in any of the suites; [Archive.Fetch]
// downloads it into the cache, and [Unpack] gives its files. Every byte is held
// against a SHA-256 that the signed release file vouches for.
//
// What is in the cache is not downloaded again, but checked again. Where the
// mirror does not answer, the release file in the cache is used;
// [Archive.Releases] tells so, and whether it has expired.
//
// The package installs nothing, runs no maintainer scripts, and follows
// dependencies no further than from a meta package to the one that it stands
// for.
//
// The formats are those of deb(5), deb822(5), deb-version(7), the Debian
// repository format (https://wiki.debian.org/DebianRepository/Format) and, for
// the signature, RFC 9580, section 7.
package debian
