// Package kmod loads the kernel modules that a machine's devices ask for,
// without the help of udev or modprobe.
//
// [ReadIndex] reads the files that depmod(8) writes. A [Loader] loads modules
// by name or by alias, each after those that it needs, side by side where they
// do not need each other. [Loader.Coldplug] does so for all devices that sysfs
// shows, until no new ones appear; [Listen] tells of those that come later.
//
// What does not load is remembered and told by [Loader.Notes]; it stops
// nothing, since most machines do without most of their devices.
//
// The package unloads nothing, takes no options for modules, and reads no
// compressed ones. The formats are those of modules.dep(5), modprobe.d(5)
// (softdep) and the kernel's uevents (kobject_uevent.c).
package kmod
