// Package version orders the versions of software.
//
// A [Version] is text that is read by the rules of a scheme: Debian's, rpm's,
// Semantic Versioning, numbers between dots, Windows' four numbers, or a date.
// Within a scheme the order is total; versions of two schemes have none, and
// [Version.Compare] says so. A [Range] is a set of comparisons that all hold.
//
// Syntax is strict: what the scheme's own tool would refuse is refused here,
// before anything is compared, so that no version that means nothing takes part
// in a plan. Numbers have any length.
//
// The package knows no products and reads no files. Its rules are section 2 of
// docs/bundles.md.
package version
