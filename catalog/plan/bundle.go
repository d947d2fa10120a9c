package plan

import "slipcast/catalog/bundle"

// A Bundle is what planning needs of one bundle: its header and what the
// catalog says of it.
type Bundle struct {
	bundle.Header
	Digest   string // of the manifest, in hexadecimal
	Size     int64  // of the file, in bytes
	Recalled string // why it is not to be used any more; empty: it may be
}

// A Receipt is what planning and compliance need of a record that a bundle was
// applied to a root: docs/bundles.md, section 9.6.
type Receipt struct {
	Product string
	Bundle  string // NAME@VERSION-RELEASE
	Scheme  string // of its version; empty: nobody knows, so versions are alike if they are written alike
	Digest  string // of the manifest
	Applied int    // how often in a row it was applied with success
	Failed  string // why the last attempt failed; empty: it did not
	Reboot  bool   // the system has not been started since, and the bundle takes effect only then
}
