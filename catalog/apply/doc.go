// Package apply puts bundles onto a root and takes them off again.
//
// One bundle is one transaction. [Apply] first works out what each path of the
// root is now and what it is to be (a step); programs and packages run in an
// overlay of package sandbox, and what they did becomes steps like any other.
// The steps are written down in a journal on the root, the new files beside
// it, and links to the old ones; then a single file decides that all of it
// happens, and only then the root is touched. Whatever happens after that (a
// power cut, an error in the middle, a second power cut), [Recover] ends with
// the old tree or the new one, never with a mixture.
//
// [Undo] is a transaction of the same kind with the steps turned round.
// [Receipts] tells what was applied.
//
// The engine needs few operations of a file system, which stand in the
// interface disk: the root itself has them, and so has the model of a disk
// that the tests cut the power of.
//
// What is on the root afterwards is specified in docs/bundles.md, section 9.
// Which bundles are to be applied, and in which order, is not decided here: see
// package plan.
package apply
