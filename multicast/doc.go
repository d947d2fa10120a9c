// Package multicast brings numbered frames from one sender to any number of
// receivers at the cost of about one transmission.
//
// A [Sender] takes frames from a [Source] and sends them as UDP datagrams to a
// multicast group. A [Receiver] finds the session, takes what it lacks, in any
// order, and puts it into a [Sink]. What gets lost on the way is repaired with
// Reed-Solomon symbols, of which one repairs different losses at all receivers;
// what a receiver needs, it tells over its own TLS connection. It may join and
// leave at any moment. Where multicast does not work, it fetches by HTTPS from
// the same sender. The last frames of a source may be an [Annex], which receivers
// may do without.
//
// Two state machines hold what the protocol decides, without a clock, a socket
// or a goroutine: a lane decides what the sender sends next, and an assembler
// makes frames of what arrives. Sender and Receiver drive them; the tests drive
// a thousand assemblers in virtual time.
//
// The package does not know what a frame means, nor disks: checking a frame is
// the business of the Sink.
//
// The protocol is specified in docs/protocol.md; the numbers of sections in
// comments are those of that document.
package multicast
