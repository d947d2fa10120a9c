// Package probe answers the questions that conditions ask about a root and the
// machine that it is for.
//
// [New] makes [Probes], which are the facts of package condition: what system a
// root holds, which files, packages and programs lie on it in which version,
// what its registry and its text files say. [Probes.Payload] compares a root
// with what a bundle would leave there.
//
// A thing that is not there is an answer; a thing that cannot be read, or that
// is damaged, is an error, which makes a verdict unknown. Everything that is
// read comes from a disk that nobody vouches for: every file is opened by
// package root, which keeps paths inside, and everything read is bounded.
//
// [EditLine] and [EditIni] are the edits that a bundle makes in text files, as
// pure functions: package apply writes what they return, and Payload compares.
//
// The package changes nothing and runs no program of the root. It is specified
// in sections 3 and 9.7 of docs/bundles.md.
package probe
