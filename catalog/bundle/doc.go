// Package bundle reads and writes bundles: signed sets of changes to a restored
// system, docs/bundles.md, sections 1 and 4 to 6.
package bundle
