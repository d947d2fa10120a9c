// Package fsmap finds which bytes of a volume are in use, by reading the
// allocation maps of the file system that is on it.
//
// [Read] asks one reader after another whether the volume is of its kind.
// There is one file for each file system. A reader follows the published
// layout of its file system, touches as few structures as it can, and checks
// each of them: a map that is too large costs time, a map that is too small
// costs data. So whatever is unknown, damaged or contradictory makes the
// volume count as used from end to end, with a note that says why. A file
// system that was not cleanly unmounted is mapped so that nothing that had
// reached the disk is lost, its journal included, or else as a whole.
//
// The package only reads, through an [io.ReaderAt], and mounts nothing.
// Memory is bounded by [partition.MaxExtents] and a few metadata blocks.
package fsmap
