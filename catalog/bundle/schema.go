package bundle

import _ "embed"

//go:embed bundle.schema.json
var schemaJSON string

// JSONSchema returns the JSON Schema (draft 2020-12) of bundle.yaml, by which an
// editor completes and checks it. It accepts all that [Build] accepts, but that a
// word of a fixed set cannot be a block of text there, and refuses what can be
// told without the files of the folder and the language of conditions.
func JSONSchema() []byte { return []byte(schemaJSON) }
