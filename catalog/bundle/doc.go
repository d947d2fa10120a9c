// Package bundle reads and writes bundles: signed sets of changes to a restored
// system.
//
// [Build] makes a bundle file of a folder with bundle.yaml and the files that it
// names; [Init] makes such a folder, and [JSONSchema] tells editors what may stand
// in bundle.yaml. [Open] reads the [Manifest] of a bundle file: all of the bundle
// but the contents of its files, which [Bundle.Data] gives and checks. [Bundle.Verify] checks all of the file. What planning needs of a bundle
// is its [Header], which stands in the catalog as well.
//
// A bundle is named by its digest, the SHA-256 of the manifest in canonical
// JSON, and the manifest has the digests of all contents. So whoever trusts the
// digest trusts all of it, however the file was compressed, and [OpenSigned]
// parses nothing else.
//
// Nothing in a file is trusted: memory is bounded, sizes are enforced while
// reading, and a manifest that breaks one rule is refused as a whole. The package
// changes no system: package apply does. It neither signs nor asks whom to trust:
// package trust does.
//
// The file, the manifest and the folder are specified in docs/bundles.md,
// sections 1 and 4 to 6; the numbers of sections in comments are those of that
// document.
package bundle
