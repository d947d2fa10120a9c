// Package pxe boots machines from the network: DHCP and proxyDHCP, the files
// of a boot folder by TFTP and HTTP, and the scripts that send a machine to its
// own disk or into the boot environment.
//
// A Server answers; what becomes of a machine is decided by a Director, which
// the package knows nothing of. Package pxe/tftp is the TFTP server, package
// pxe/bootenv makes boot folders, package pxe/debian fetches what goes into
// them.
//
// What is answered to whom is specified in docs/boot.md; the numbers of
// sections in comments are those of that document.
package pxe
