package main

import (
	"slipcast/catalog/bake"
	"slipcast/catalog/sandbox"
)

// startedAsPart tells whether this process is a part of another one's work, which
// has started it as a copy of itself, and does that part: the program of a bundle
// is run, or an image is baked.
func startedAsPart(args []string) (code int, ok bool) {
	switch args[0] {
	case bake.Arg0:
		return bake.Main(catalogJobs()), true
	case sandbox.Arg0:
		return sandbox.Main(), true
	}
	return 0, false
}
