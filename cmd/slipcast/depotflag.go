package main

import (
	"errors"

	"github.com/spf13/cobra"

	"slipcast/catalog/depot"
	"slipcast/catalog/trust"
	"slipcast/image"
)

// A depotFlags says into which store a catalog comes from elsewhere, and why it is
// trusted.
type depotFlags struct {
	storeFlag
	root string // file of the root that is trusted; empty: the store's own
}

func addDepotFlags(cmd *cobra.Command, f *depotFlags) {
	addStoreFlag(cmd, &f.storeFlag)
	cmd.Flags().StringVar(&f.root, "trust", "", "trust the root in `FILE` (default: the one in the store)")
}

// trusted reads the root that is trusted, nil if it is the store's own.
func (f *depotFlags) trusted() ([]byte, error) {
	if f.root == "" {
		return nil, nil
	}
	return readBoundedFile(f.root, 64<<10)
}

// A payloadFlag is the value of the flag --payload.
type payloadFlag depot.Payload

// Set implements pflag.Value.
func (p *payloadFlag) Set(text string) error {
	payload, err := depot.ParsePayload(text)
	*p = payloadFlag(payload)
	return err
}

// String implements pflag.Value.
func (p *payloadFlag) String() string { return depot.Payload(*p).String() }

// Type implements pflag.Value.
func (p *payloadFlag) Type() string { return "payload" }

// A kindError is an error that is one of another kind as well, of which exit codes
// and hints speak.
type kindError struct{ err, kind error }

func (e *kindError) Error() string   { return e.err.Error() }
func (e *kindError) Unwrap() []error { return []error{e.err, e.kind} }

// depotError says of what kind an error of package depot is.
func depotError(err error) error {
	kinds := []struct{ is, kind error }{
		{depot.ErrLost, errRemoteSilent}, {depot.ErrDenied, errRemoteRefused}, {depot.ErrWrong, image.ErrDamaged}, {depot.ErrOtherRoot, trust.ErrSignature},
	}
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			return &kindError{err, k.kind}
		}
	}
	if errors.Is(err, depot.ErrNoRoot) {
		return usagef("%w: --trust FILE has the root that says so", err)
	}
	return err
}

func mirroredType() jsonType {
	return jsonType{"mirrored", "the result of store mirror", append([]jsonField{
		{name: "url", meaning: "URL as it was given"}, {name: "store", meaning: "its folder"},
		{name: "bundles", meaning: "how many came"}, {name: "images", meaning: "how many came"}, {name: "chunks", meaning: "how many came"},
		{name: "fetched_bytes", meaning: "that came"}, {name: "expires", meaning: "when the catalog does, as in RFC 3339"}, {name: "seconds", meaning: "that it took"},
	}, versionFields()...)}
}

func exportedType() jsonType {
	return jsonType{"exported", "the result of store export", append([]jsonField{
		{name: "dir", meaning: "DIR as it was given"}, {name: "parts", meaning: "list of the names of its parts"}, {name: "list", meaning: "name of the list"},
		{name: "written_bytes", meaning: "of the parts"}, {name: "bundles", meaning: "how many"}, {name: "images", meaning: "how many"},
		{name: "chunks", meaning: "how many"}, {name: "seconds", meaning: "that it took"},
	}, versionFields()...)}
}

func importedType() jsonType {
	fields := []jsonField{
		{name: "store", meaning: "its folder"}, {name: "complete", meaning: "whether the catalog has taken its place; then it has versions and expires"},
		{name: "parts", meaning: "how many were whole"}, {name: "bundles", meaning: "how many took their place"}, {name: "images", meaning: "how many took their place"},
		{name: "damaged_parts", meaning: "how many"}, {name: "missing", meaning: "how many things are"}, {name: "seconds", meaning: "that it took"},
		optional(jsonField{name: "expires", meaning: "when the catalog does, as in RFC 3339"}),
	}
	for _, f := range versionFields() {
		fields = append(fields, optional(f))
	}
	return jsonType{"imported", "the result of store import", fields}
}

func damagedPartType() jsonType {
	return jsonType{"damaged_part", "one for each part that store import finds to be damaged", []jsonField{
		{name: "part", meaning: "its path"}, {name: "text", meaning: "for people"}, {name: "lost", meaning: "list of the names of what was not taken from it"},
	}}
}

func missingType() jsonType {
	return jsonType{"missing", "one for each thing that store import still waits for", []jsonField{
		{name: "id", meaning: "of a bundle, NAME@VERSION of an image, or the catalog"}, {name: "chunks", meaning: "of an image, that are missing; 0 is all of it"},
		{name: "parts", meaning: "list of the parts that have it; empty if no part has that is known"},
	}}
}
