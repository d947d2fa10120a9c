// Package sandbox runs programs on a root without touching it.
//
// [New] lays an overlay over each file system of a root: what is written goes
// into a scratch folder. [Overlay.Root] is the tree that results, and
// [Overlay.Run] runs a program in it, in namespaces of its own that end with
// it. [Overlay.Changes] lists what is different afterwards, as operations that
// can be done to the root itself: see package apply.
//
// The mounts lie in a mount namespace that ends with the process. So a process
// that is killed leaves files in the scratch folder, and nothing else.
//
// A program is started through a copy of this executable, which must call
// [Main] when its first argument is [Arg0].
//
// What a program may do is specified in docs/bundles.md, section 9.2.
package sandbox
