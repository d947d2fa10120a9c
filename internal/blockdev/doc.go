// Package blockdev opens the disks, partitions and files that slipcast reads
// and writes. It is the only code that knows /dev, sysfs and ioctls.
//
// [OpenSource] and [OpenTarget] decide whether a device may be used at all. A
// target that is mounted, in use, read-only, or that carries the running
// system or a file that must survive is refused with a [RefusedError] before
// its first byte is written, and no option changes that. What the tables of
// the kernel cannot tell (a mount in another namespace, a ZFS pool) is caught
// by the exclusive claim under which every block device is opened. To be safe
// against a disk that is pulled or renamed between a question and its answer,
// open the target first, show [Device.Info], ask, and then write: an open
// Device never turns into another disk.
//
// A [Device] is an [io.ReaderAt] and an [io.WriterAt] of fixed size. Large
// aligned pieces bypass the page cache. Each further ability (Zero, Discard,
// NextData, DropCache, RereadTable and more) is a method that a caller can ask
// for with a one-method interface, so that other packages need not import
// this one.
//
// [GrowFilesystem] lets a file system fill a partition that was made larger.
// [AttachLoop] shows a part of a file as a device of its own.
// [Stat] and [List] describe devices for people and make no claim.
//
// What the checks know comes from /proc/self/mountinfo, /proc/swaps and
// /sys/block. They are parsed by pure functions over an [fs.FS] and joined in
// a graph of which device lies on which: partitions, device mapper, md,
// bcache, loop devices and the members of a btrfs.
//
// The package runs on Linux. It interprets no partition table and no file
// system, except for the few fields that growing one needs.
package blockdev
