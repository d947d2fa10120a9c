// Package depot brings what a catalog names from one store to another.
//
// [Handler] shows a store to others: what the catalog names, and nothing else.
// [Mirror] makes a store have what the catalog of another one names, over HTTP; any
// web server that shows the folder of a store will do. [Export] writes the same as
// files for a stick, and [Import] takes them, in any order.
//
// Nothing is believed because of where it comes from: metadata are checked as
// package trust does, bundles by their targets, and images by their digests. What
// has come and is not whole waits in the folder mirror of the store, and who is cut
// off, or killed, at any moment goes on there. The metadata take their place last, so
// that whoever uses the store sees the old catalog or the new one as a whole.
//
// Everything here is specified in section 12 of docs/bundles.md.
package depot
