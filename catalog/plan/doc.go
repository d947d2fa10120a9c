// Package plan says what a root lacks, and in which order it is brought.
//
// [Compile] reads the headers of a catalog once. [Catalog.Look] asks a
// [Detector] which versions are on a root and which bundles apply to it, and
// [Catalog.Resolve] makes a [Plan] of that: the bundles to apply, in their
// order, and for every product and every bundle of the catalog a state with its
// reason. Resolving is pure: the same catalog and findings give the same plan,
// byte for byte, in whatever order the bundles came.
//
// A plan is data. [Plan.Encode] writes it as canonical JSON, whose digest names
// it, and [Catalog.Check] tells whether a plan that was saved may still run.
// [Assess] tells what a plan changes before it runs, and [Comply] turns plans
// of many roots into a [Matrix] of what is compliant and since when it is not.
//
// The package reads no disk and writes none: what is on a root comes through
// Detector, and how a bundle gets there is the business of package apply.
//
// Plans are section 8 of docs/bundles.md, compliance is section 11.
package plan
