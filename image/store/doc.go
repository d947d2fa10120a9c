// Package store keeps many images in one folder. Images share their frames:
// what two of them have in common lies there once.
//
// [Init] makes a store, [Open] opens it. [Store.Add] and [Store.AddStream] bring
// an image into it under a name and a version; [Store.OpenImage] gives back the
// very bytes of an ordinary .img.zst file, at random and without a copy, which
// [slipcast/image.Open], a web server and everything else can read.
// [Store.Handler] serves all images over HTTP. [Store.Remove] forgets a version,
// and [Store.GC] removes the frames that no version needs any more.
// [Store.Verify] reads everything and names what is damaged. [Store.Mirror] gives
// room to what comes from elsewhere piece by piece.
//
// Any number of processes may use a store at once. Locks are those of flock(2):
// the kernel drops them with the process, so there are none to clean up. A
// program that is killed, or a power cut, at any moment leaves a good store and maybe
// frames that nobody needs, which the next GC removes.
//
// A store is no backup of itself, knows nothing of networks but how to answer
// them, and does not repair: what is damaged is named, and comes back with
// adding the image again.
//
// The layout of the folder is specified in section 16 of docs/format.md.
package store
