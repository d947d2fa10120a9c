package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"slipcast/catalog/bake"
	"slipcast/catalog/bundle"
)

// bundleTestOptions say how a bundle is tested.
type bundleTestOptions struct {
	images  imageFlags
	params  []string
	scratch string
}

func newBundleTestCmd(env *env) *cobra.Command {
	var opt bundleTestOptions
	cmd := &cobra.Command{
		Use:   "test FILE IMAGE...",
		Short: "Try a bundle on images, and take it off again",
		Long: `Test tries the bundle FILE on a copy of each IMAGE: it is for that image, can be
applied, is found afterwards, leaves what it says it leaves, and can be undone, so
that the tree is as before. It takes root's rights. The images stay as they are,
and nothing is left of the copies: what is written goes to a file in --scratch.

` + imageHelp,
		Example: "  slipcast bundle test licence-server@1.0.0-1.slb room-12 room-13@2",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return usagef("bundle test: want FILE and one IMAGE or more, got %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runBundleTest(cmd.Context(), env, args[0], args[1:], &opt); err != nil {
				return fmt.Errorf("testing %s: %w", args[0], err)
			}
			return nil
		},
	}
	addImageFlags(cmd, &opt.images)
	cmd.Flags().StringArrayVar(&opt.params, "param", nil, "give the bundle a setting, `BUNDLE:NAME=VALUE`; =@FILE reads it from a file")
	cmd.Flags().StringVar(&opt.scratch, "scratch", "", "write to the folder `DIR` meanwhile (default: one for temporary files)")
	return cmd
}

// runBundleTest tests a bundle on all images, and fails if it fails on any.
func runBundleTest(ctx context.Context, env *env, path string, images []string, opt *bundleTestOptions) error {
	params, err := parseParams(opt.params)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var failed []string
	for _, name := range images {
		r, err := testOn(ctx, env, f, name, params, opt)
		if err != nil {
			return fmt.Errorf("on %s: %w", name, err)
		}
		env.reportTest(name, r)
		if !r.Passed() {
			failed = append(failed, name)
		}
	}
	if len(failed) > 0 {
		return errors.New("it fails on " + strings.Join(failed, ", "))
	}
	return nil
}

// testOn tests a bundle on one image.
func testOn(ctx context.Context, env *env, f *os.File, name string, params map[string]map[string]string, opt *bundleTestOptions) (*bake.Report, error) {
	im, err := openImageFile(ctx, name, &opt.images)
	if err != nil {
		return nil, err
	}
	defer im.Close()
	product, err := productIn(f)
	if err != nil {
		return nil, err
	}
	if err := onlyProduct(params, product); err != nil {
		return nil, err
	}
	return bake.Test(ctx, f, im.Image, bake.TestOptions{
		Copy: bake.CopyOptions{Scratch: opt.scratch}, Params: params[product], By: program(),
		Log: func(line string) { env.say("%s", plain(line, 1000)) },
	})
}

// productIn returns the product of the bundle in f.
func productIn(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	b, err := bundle.Open(f, info.Size())
	if err != nil {
		return "", err
	}
	return b.Manifest.Product(), nil
}

// onlyProduct refuses parameters of other products.
func onlyProduct(params map[string]map[string]string, product string) error {
	for name := range params {
		if name != product {
			return usagef("--param: this is a bundle of %s, not of %s", product, plain(name, 100))
		}
	}
	return nil
}

// reportTest prints how a test went.
func (e *env) reportTest(name string, r *bake.Report) {
	e.result(map[string]any{
		"type": "bundle_test", "image": name, "image_digest": r.Image, "id": r.Bundle, "digest": r.Digest,
		"passed": r.Passed(), "checks": r.Checks,
	}, false)
	if e.json {
		return
	}
	e.print(e.stdout, "%s on %s\n", r.Bundle, plain(name, 1000))
	for _, c := range r.Checks {
		text := fmt.Sprintf("%-7s %s", c.Result, c.Name)
		if c.Detail != "" {
			text += ": " + plain(c.Detail, longestError)
		}
		e.print(e.stdout, "  %s\n", text)
	}
}

// bundleTestType is the result of bundle test.
func bundleTestType() jsonType {
	return jsonType{"bundle_test", "one for each IMAGE of bundle test", []jsonField{
		{name: "image", meaning: "IMAGE as it was given"}, {name: "image_digest", meaning: "of it, in hexadecimal"},
		{name: "id", meaning: "NAME@VERSION-RELEASE of the bundle"}, {name: "digest", meaning: "of its manifest, in hexadecimal"},
		{name: "passed", meaning: "whether no check failed"},
		{name: "checks", meaning: "list of what was looked at, with name, result (ok, failed or skipped), detail and seconds; the first that failed is the last"},
	}}
}
