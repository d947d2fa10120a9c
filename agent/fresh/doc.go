// Package fresh makes a restored disk the disk of one machine: what was
// particular to the machine that the image was captured from is replaced or
// removed, docs/boot.md, section 9.
//
// [Run] looks at each partition for what is on it. In a Linux system it sets
// the name and renews machine-id, SSH host keys and the like; in a Windows
// system it places an answer file; on an EFI system partition it finds the
// loader that the firmware is to start. What it does not touch, because it is
// encrypted, damaged or not what it should be, it tells in notes.
//
// The partitions are mounted by the kernel's own drivers, detached: the mounts
// have no place in any directory and end with their descriptors. A file system
// is mounted to be written to only once it was seen to hold something to change.
//
// Nothing on the disk is trusted. Every path goes through openat2(2) from the
// root of its file system; where something is changed, no symbolic link is
// followed at all. Files are written beside their place, flushed and renamed,
// so that a power cut leaves the old or the new one, and Run may be repeated.
// The kernel must be Linux 5.6 or later.
//
// The package touches no boot variables and no partition table: see packages
// uefi and partition.
package fresh
