// Package layout guards the shape of the module: which package may import
// which. Its test lists every package with the packages of this module that
// it may import, and fails on anything else, so that an arrow of the picture
// in docs/design.md changes only together with a row here.
//
// The rules in short. Packages stand on floors, and an import goes to a lower
// floor. Those of one floor never import each other. Only cmd/slipcast, agent
// and catalog touch devices and draw progress. No package is a drawer for
// leftovers (util, common, types).
//
// A package's tests are held to the same row, so that it can be understood
// from below together with them. They may import one package more:
// internal/lab, which makes the disks that tests need and which nothing but
// tests may import.
package layout
