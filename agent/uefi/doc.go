// Package uefi reads and writes the boot variables of UEFI firmware: which
// entries there are, which of them comes next, and in which order they are
// tried.
//
// Vars is the folder where efivarfs is mounted. BootDisk makes a restored disk
// boot, next and from then on; BootLocal sends a machine to the disk that it
// has, once.
//
// The forms are those of the UEFI Specification 2.10: sections 3.1.3 (load
// options), 3.3 (globally defined variables) and 10.3 (device paths). What a
// file of efivarfs holds is in Linux, Documentation/filesystems/efivarfs.rst.
package uefi
