// Package fleet knows the machines of a site, what is to become of them, and
// what has become of them.
//
// [Open] opens the database, a file that the server and any number of commands
// use at the same time. A [Fleet] holds machines and jobs. The states of a job
// are a table of pure functions, see the type course; whatever changes one goes
// through it, in one transaction.
//
// Three parts talk to the world. A [Director] tells package pxe which machines
// boot the agent, and makes the tickets that they carry. An [AgentAPI] answers
// the agents. An [OperatorAPI] answers people and programs, and has the status
// page. A [Keeper] does what is due when nobody asks: it expires offers and
// windows, wakes machines, and ends sessions.
//
// The package moves no bytes of images: it names them, through [Images], and
// asks for multicast sessions, through [Sessions].
//
// Everything is specified in docs/boot.md, sections 5 to 8 and 10.
package fleet
