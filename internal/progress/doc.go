// Package progress shows how far a long piece of work has come: as a bar on a
// terminal, as a line now and then in a log, or as objects for a program
// (--json).
//
// [New] starts a [Meter]. The work calls [Meter.Add] with the bytes that it
// has done, from as many goroutines as it likes, and [Meter.Done] at its end.
// The meter looks at the sum at fixed moments and keeps the last few seconds
// of it, which give the rate and the time left.
//
// [Bytes] and [Duration] are how slipcast writes sizes and times for people.
//
// The package knows nothing of what is being done, and nothing that it writes
// matters to the work: a meter whose writer fails goes on counting in silence.
package progress
