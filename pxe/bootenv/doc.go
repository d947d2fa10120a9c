// Package bootenv makes boot folders: the loaders, kernel and initramfs that
// package pxe hands out.
//
// [Build] takes a kernel with its modules from Debian, from this host or from
// files, chooses the modules that a set names or that given machines ask for
// (with all that these need, and their firmware), packs them with the agent
// into an initramfs, takes the loaders from Debian, and writes the folder with
// a [Manifest] of what is in it. [Check] reads a folder and says whether it is
// still what was built, and who signed what.
//
// The package runs no program of the host: module indexes, cpio archives and
// FAT images are written here. It serves nothing, and loads no modules; that
// is the business of packages pxe and agent/kmod.
//
// The boot folder is specified in docs/boot.md, section 2.
package bootenv
