// Package bake lays bundles onto an image and makes an image of the result.
//
// A [Copy] is a copy of the disk in an image that can be written to: what is
// written goes into a scratch file, a [Cow], and the image stays as it is. The
// kernel sees the copy as a file (FUSE), and each of its volumes as a loop
// device over a part of that file. [Copy.Run] mounts them as the system's own
// etc/fstab says and does a job on the root; [Copy.Capture] makes the child
// image afterwards, of which only the chunks that changed are compressed.
// [Bake] is both; [Test] tries a bundle and takes it off again.
//
// The job runs in a process of its own, a copy of this executable, which must
// call [Main] when its first argument is [Arg0]. There are two reasons. A
// process that waits for a file system whose blocks it serves itself cannot be
// killed: the thread that waits keeps open what would have to be closed for it
// to end. And the process lives in namespaces of processes and mounts that end with
// it, so that whatever is killed, no process, mount or loop device is left.
//
// Nothing else is needed of the kernel than FUSE, loop devices (Linux 5.8) and
// the drivers of the file systems. Package image/store is not imported: [Copy.Capture] writes an
// image file to any writer, and a store keeps of it what it lacks.
//
// Baking is specified in docs/bundles.md, section 10.
package bake
