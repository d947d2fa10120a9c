package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"slipcast/catalog/bundle"
)

func newBundleCmd(env *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bundle",
		Short: "Make and look at bundles of changes",
		Long: `A bundle is one file with changes to a restored system: files, packages, lines of
text files, and programs that run before, after, or at the first boot. It says
which systems it is for, what it needs, and how to find out whether it is there.

Build makes a bundle of a folder with bundle.yaml and the files that it names;
the same folder always gives the same bundle. The catalog lists the bundles that
machines may be given.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("bundle: unknown command %q; slipcast help bundle lists them", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			return usagef("bundle: what to do is missing; slipcast help bundle lists what there is")
		},
	}
	cmd.AddCommand(newBundleInitCmd(env), newBundleBuildCmd(env), newBundleShowCmd(env), newBundleTestCmd(env), newBundleSchemaCmd(env))
	return cmd
}

func newBundleInitCmd(env *env) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a folder to build a bundle from",
		Long: `Init makes DIR, which must be empty if it is there: a bundle.yaml that explains
what can stand in it, and the files that it names. It can be built as it is.

The bundle gets the name of the folder, unless --name says another: lower-case
letters, digits, . and -.`,
		Example: "  slipcast bundle init licence-server",
		Args:    operands("DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := runBundleInit(env, args[0], name); err != nil {
				return fmt.Errorf("making a bundle in %s: %w", args[0], err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "call the bundle `NAME` (default: the name of DIR)")
	return cmd
}

// runBundleInit makes the folder of a bundle.
func runBundleInit(env *env, dir, name string) error {
	if name == "" {
		path, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		name = filepath.Base(path)
	}
	if _, _, err := bundle.ParseProduct(name); err != nil {
		return &usageError{err}
	}
	if err := bundle.Init(dir, name); err != nil {
		return err
	}
	env.say("made %s in %s; its bundle.yaml explains itself", name, dir)
	env.result(map[string]any{"type": "bundle_folder", "dir": dir, "name": name}, false)
	return nil
}

// bundleFields are the fields of objects about a bundle.
func bundleFields(more jsonField) []jsonField {
	return []jsonField{
		{name: "bundle", meaning: "the file, as it was given or chosen"},
		{name: "id", meaning: "NAME@VERSION-RELEASE, with /TRACK behind NAME if there is one"},
		{name: "digest", meaning: "of the manifest, in hexadecimal: it names the bundle"},
		{name: "bundle_bytes", meaning: "length of the file"}, {name: "content_bytes", meaning: "of the files in it"}, more,
	}
}

func bundleFolderType() jsonType {
	return jsonType{"bundle_folder", "the result of bundle init", []jsonField{
		{name: "dir", meaning: "DIR as it was given"}, {name: "name", meaning: "of the bundle"},
	}}
}

func bundleBuiltType() jsonType {
	return jsonType{"bundle_built", "the result of bundle build", bundleFields(jsonField{name: "seconds", meaning: "that it took"})}
}

func bundleType() jsonType {
	return jsonType{"bundle_file", "the result of bundle show", bundleFields(jsonField{name: "manifest", meaning: "as docs/bundles.md, section 5, has it"})}
}
