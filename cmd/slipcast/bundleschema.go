package main

import (
	"github.com/spf13/cobra"

	"slipcast/catalog/bundle"
)

func newBundleSchemaCmd(env *env) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print what an editor checks bundle.yaml by",
		Long: `Schema prints the JSON Schema (draft 2020-12) of bundle.yaml. An editor completes
and explains its keys by that, and marks what is wrong while it is written. What
needs the files of the folder, only slipcast bundle build tells.

Put the schema beside bundle.yaml, under the name bundle.schema.json. Editors with
yaml-language-server find it by the first line of bundle.yaml:

  # yaml-language-server: $schema=bundle.schema.json

The schema is the same with --json.`,
		Example: "  slipcast bundle schema >bundle.schema.json",
		Args:    operands(),
		RunE: func(*cobra.Command, []string) error {
			env.print(env.stdout, "%s", bundle.JSONSchema())
			return nil
		},
	}
}
