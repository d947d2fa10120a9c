// Package wire is what an agent and its server say to each other: the types of
// docs/boot.md, sections 5 to 8.
//
// Neither end imports the other; both import this package. It holds no
// behaviour but what both must do alike: [Plain], by which they make texts fit
// for people, [MAC], [CheckApply], [Job.PlanDigest] and [Cell.Good].
package wire
