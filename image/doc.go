// Package image reads and writes slipcast images.
//
// An image holds the bytes in use of one disk or partition. The data is cut
// into chunks of a fixed size. Each chunk is compressed on its own with zstd,
// has its own digest, and can be written without any other chunk. This is
// what lets a multicast receiver start restoring in the middle of a session.
//
// [Scan] finds out what is on a disk, [Capture] turns it into an image.
// [Open] reads the manifest of an image file and gives access to any chunk;
// [OpenStream] reads an image from a pipe. [Restore] writes either to a
// target, with a [Restorer] that takes chunks in any order. [Image.Verify]
// checks an image alone, [Image.Compare] checks a disk against it.
// [OpenForeign] reads disk images that others made, as a stream.
//
// Who gets chunks from elsewhere needs [Image.Preface] before they come, learns
// from [Restorer.Compare] which of them the target lacks, and goes on where a
// restore was cut short if [RestoreOptions] say so.
//
// Who keeps the frames of many images in one place, as package store does, checks
// them with a [Checker], gets with [Image.Reframe] the preface for those it keeps, and
// makes the image of both again with [Assemble].
//
// The package touches no devices: it reads from an [io.ReaderAt] and writes
// to a [Target]. Opening, locking and flushing a block device is the caller's
// business, see package blockdev.
//
// Memory is bounded: a few chunks for each worker, the vital bytes of section
// 11, and the manifest, which takes 64 bytes for each data chunk and 16 for
// each extent in use.
//
// The file format is specified in docs/format.md; the numbers of sections in
// comments are those of that document.
package image
