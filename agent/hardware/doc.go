// Package hardware finds out what a machine is made of, and which of its disks
// a job means.
//
// [Machine] reads the inventory from sysfs and procfs, [Disks] completes what
// package blockdev lists by what a choice needs to know: the path, the world
// wide name, and whether a disk is built in. [Choose] applies the rule of
// docs/boot.md, section 8; it never picks one of two.
//
// All of it reads an [io/fs.FS], so that tests make up machines. Texts of
// firmware and devices are made printable and bounded. Nothing is opened for
// writing, and nothing but sysfs and procfs is read.
package hardware
