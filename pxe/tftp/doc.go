// Package tftp serves files to the firmware of machines that boot: TFTP,
// reading only.
//
// A [Server] takes requests on one UDP socket and asks its Files function for
// what is to be sent. Each transfer has its own socket, and with it the port
// that TFTP calls its TID, and one goroutine that owns all of its state: it
// sends a window of blocks, reads the next one from the file while the client
// works, and waits for the acknowledgement. What the client lacks is sent
// again from the last block that it acknowledged.
//
// Specified in RFC 1350 (the protocol), 2347 (options), 2348 (blksize), 2349
// (timeout, tsize) and 7440 (windowsize), with what RFC 1123, section 4.2, says
// of timeouts, duplicates and broadcasts.
//
// The package does not write files: whoever asks for that is refused. It does
// not convert text either: the modes netascii and mail are refused, since
// what boots is made of bytes, and a boot loader with every LF turned into CR
// LF (RFC 764) is a broken one that nobody would look for here.
//
// TFTP knows no keys. Anyone on the network can ask for any file that Files
// gives, and can ask in the name of somebody else. What that costs the
// somebody is bounded, see [Server].
package tftp
