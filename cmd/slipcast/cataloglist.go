package main

import (
	"bufio"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"slipcast/catalog/trust"
	"slipcast/internal/progress"
)

func newCatalogListCmd(env *env) *cobra.Command {
	var where storeFlag
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what machines may be given",
		Long: `List prints the bundles and the images of the catalog, as the release keys have
signed them, and what was recalled.`,
		Example: "  slipcast catalog list",
		Args:    operands(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := where.repository()
			if err != nil {
				return fmt.Errorf("listing the catalog: %w", err)
			}
			c, err := r.Catalog(cmd.Context())
			if err != nil {
				return fmt.Errorf("listing the catalog in %s: %w", r.Dir(), err)
			}
			if err := printCatalog(env, c); err != nil {
				return err
			}
			return warnExpiry(cmd.Context(), env, r)
		},
	}
	addStoreFlag(cmd, &where)
	return cmd
}

// printCatalog prints all targets.
func printCatalog(env *env, c *trust.Catalog) error {
	if env.json {
		for _, b := range c.Bundles {
			env.object(env.stdout, bundleObject(&b))
		}
		for _, i := range c.Images {
			env.object(env.stdout, imageObject(&i))
		}
		return nil
	}
	out := bufio.NewWriter(env.stdout)
	writeTargets(out, c)
	return out.Flush()
}

// writeTargets prints a table of bundles and images.
func writeTargets(w io.Writer, c *trust.Catalog) {
	if len(c.Bundles) == 0 && len(c.Images) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "kind\tid\tseverity\tsize\tdigest\tauthor\trecalled")
	for _, b := range c.Bundles {
		severity := b.Header.Severity
		if severity == "" {
			severity = "low"
		}
		fmt.Fprintf(t, "bundle\t%s\t%s\t%s\t%.12s\t%s\t%s\n", b.ID(), severity, progress.Bytes(b.File.Size), b.Digest,
			dash(b.Author), dash(plain(b.Recalled, longestRecall)))
	}
	for _, i := range c.Images {
		fmt.Fprintf(t, "image\t%s\t-\t%s\t%.12s\t-\t%s\n", i.ID(), progress.Bytes(i.Size), i.Digest, dash(plain(i.Recalled, longestRecall)))
	}
	t.Flush()
}

// longestRecall is how much of a reason is shown, in characters.
const longestRecall = 200

// dash stands for what is empty.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// bundleObject returns a bundle of the catalog for programs.
func bundleObject(b *trust.BundleTarget) map[string]any {
	o := map[string]any{
		"type": "released_bundle", "bundle": b.ID(), "digest": b.Digest, "file_sha256": b.File.SHA256, "file_bytes": b.File.Size, "header": b.Header,
	}
	if b.Author != "" {
		o["author"] = b.Author
	}
	if b.Recalled != "" {
		o["recalled"] = b.Recalled
	}
	return o
}

// imageObject returns an image of the catalog for programs.
func imageObject(i *trust.ImageTarget) map[string]any {
	o := map[string]any{"type": "released_image", "image": i.ID(), "digest": i.Digest, "disk_bytes": i.Size}
	if i.Parent != "" {
		o["parent"], o["bundles"] = i.Parent, list(i.Bundles)
	}
	if i.Recalled != "" {
		o["recalled"] = i.Recalled
	}
	return o
}
