// Package root gives access to a root: the tree of files of a restored system,
// with its file systems joined as it mounts them itself.
//
// [Open] takes a tree that lies at a directory, "/" for the running system.
// [Mount] mounts the volumes of a disk as the system's own etc/fstab says, and
// refuses by name what must not be changed: encrypted, suspended, hibernated or
// damaged volumes. Its mounts lie in a mount namespace of their own, which ends
// with the process, however that ends: [Root.Within] lets a caller see it.
//
// Nothing in a root is trusted. Every path is resolved by openat2(2) inside of
// the root: links in the middle of a path are followed there, absolute ones
// too, and none leads out; what a path names last is never followed. [Parent]
// is the folder of a path, held open, to be used with the *at() system calls.
//
// [Root.TreeDigest] is one digest for all that is in a root (docs/bundles.md,
// section 9.6), [Root.Tree] the list that it is made of.
//
// The package changes nothing in a root. It needs Linux 5.8 or later.
package root
