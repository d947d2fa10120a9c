// Package wire is what an agent and its server say to each other: the types of
// docs/boot.md, sections 5 to 8, and how they are read from outside.
//
// Neither end imports the other; both import this package. It holds no
// behaviour but the checks of what came over the wire.
package wire
