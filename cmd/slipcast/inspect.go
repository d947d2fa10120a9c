package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"slipcast/image"
	"slipcast/internal/progress"
	"slipcast/partition"
)

func newInspectCmd(env *env) *cobra.Command {
	var flags imageFlags
	cmd := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show what is in an image",
		Long: `Inspect prints the layout of the disk in IMAGE, the file systems on it, their
sizes and labels, what is in use, digests, notes, and what could not be read. It
reads only the image's manifest; slipcast verify checks the data. With - for
IMAGE it reads all of standard input.

` + imageHelp,
		Example: "  slipcast inspect room-12.img.zst",
		Args:    operands("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInspect(cmd.Context(), env, args[0], &flags)
		},
	}
	addImageFlags(cmd, &flags)
	return cmd
}

// runInspect prints the manifest of the image at path.
func runInspect(ctx context.Context, env *env, path string, flags *imageFlags) error {
	m, size, err := readManifest(ctx, env, path, flags)
	if err != nil {
		return fmt.Errorf("inspecting %s: %w", path, err)
	}
	if env.json {
		env.object(env.stdout, manifestObject(path, m, size))
		return nil
	}
	out := bufio.NewWriter(env.stdout)
	writeManifest(out, path, m, size)
	return out.Flush()
}

// readManifest reads the manifest of an image and the length of the file.
func readManifest(ctx context.Context, env *env, path string, flags *imageFlags) (*image.Manifest, int64, error) {
	if path != "-" {
		im, err := openImageFile(ctx, path, flags)
		if err != nil {
			return nil, 0, err
		}
		defer im.Close()
		return &im.Manifest, im.Size(), nil
	}
	in, err := env.imageInput(ctx)
	if err != nil {
		return nil, 0, err
	}
	counted := &countingReader{r: in}
	s, err := image.OpenStream(counted)
	if err != nil {
		return nil, 0, err
	}
	var buf []byte
	for err == nil {
		_, buf, err = s.Next(buf)
	}
	if err != io.EOF {
		return nil, 0, err
	}
	err = s.Finish()
	return &s.Manifest, counted.n, err
}

// A countingReader counts what is read.
type countingReader struct {
	r io.Reader
	n int64
}

// Read implements io.Reader.
func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// writeManifest prints m for people.
func writeManifest(w io.Writer, path string, m *image.Manifest, size int64) {
	used := m.Used.Size()
	fmt.Fprintf(w, "image     %s\n", path)
	fmt.Fprintf(w, "digest    %s\n", m.Digest)
	fmt.Fprintf(w, "disk      %s (%d bytes)\n", progress.Bytes(m.Layout.Size), m.Layout.Size)
	fmt.Fprintf(w, "in use    %s in %s of %s\n", progress.Bytes(used), count(m.ChunkCount(), "chunk"), progress.Bytes(m.ChunkSize))
	fmt.Fprintf(w, "packed    %s (%d bytes)%s\n", progress.Bytes(size), size, ratio(size, used))
	writeOrigin(w, &m.Origin)
	fmt.Fprintln(w)
	writeLayout(w, &m.Layout, "")
	if notes := layoutNotes(&m.Layout); len(notes) > 0 {
		fmt.Fprintln(w)
		for _, n := range notes {
			fmt.Fprintf(w, "note: %s: %s\n", n.about, n.text)
		}
	}
	for _, e := range m.ReadErrors {
		fmt.Fprintf(w, "not read: %d bytes at offset %d; zeros stand for them\n", e.Length, e.Start)
	}
}

// ratio compares the length of an image with what is in it, unless the image
// is so small that what it needs besides counts for more.
func ratio(size, used int64) string {
	if size > used {
		return ""
	}
	return fmt.Sprintf(", %d %% of what is in use", (100*size+used/2)/used)
}

func writeOrigin(w io.Writer, o *image.Origin) {
	if o.Time.IsZero() {
		return
	}
	fmt.Fprintf(w, "captured  %s by %s, level %s\n", o.Time.Local().Format("2006-01-02 15:04:05"), o.Tool, o.Level)
	if o.Source != "" {
		fmt.Fprintf(w, "from      %s\n", o.Source)
	}
	if o.Parent != "" {
		fmt.Fprintf(w, "parent    %s\n", o.Parent)
	}
}

// manifestObject returns m for programs.
func manifestObject(path string, m *image.Manifest, size int64) map[string]any {
	notes := []map[string]string{}
	for _, n := range layoutNotes(&m.Layout) {
		notes = append(notes, map[string]string{"about": n.about, "text": n.text})
	}
	o := map[string]any{
		"type": "image", "image": path, "digest": m.Digest.String(), "image_bytes": size,
		"disk_bytes": m.Layout.Size, "used_bytes": m.Used.Size(),
		"logical_sector": m.LogicalSector, "physical_sector": m.PhysicalSector,
		"chunk_bytes": m.ChunkSize, "chunks": m.ChunkCount(), "extents": len(m.Used),
		"table":   tableObject(&m.Table),
		"volumes": volumeObjects(m), "notes": notes, "read_errors": extentObjects(m.ReadErrors),
	}
	if !m.Origin.Time.IsZero() {
		o["origin"] = map[string]string{
			"time": m.Origin.Time.UTC().Format(time.RFC3339), "tool": m.Origin.Tool, "level": m.Origin.Level,
			"source": m.Origin.Source, "parent": m.Origin.Parent,
		}
	}
	return o
}

func tableObject(t *image.Table) map[string]any {
	parts := []map[string]any{}
	for _, p := range t.Partitions {
		parts = append(parts, map[string]any{
			"number": p.Number, "start": p.Start, "size": p.Size, "type": p.Type, "type_name": partition.TypeName(p.Type),
			"uuid": p.UUID, "name": p.Name, "attributes": p.Attributes, "active": p.Boot, "logical": p.Logical, "extended": p.Extended,
		})
	}
	return map[string]any{"kind": t.Kind, "id": t.ID, "partitions": parts}
}

func volumeObjects(m *image.Manifest) []map[string]any {
	list := []map[string]any{}
	for i := range m.Volumes {
		v := &m.Volumes[i]
		list = append(list, map[string]any{
			"partition": v.Number, "start": v.Start, "size": v.Size, "used_bytes": m.UsedIn(v.Extent()),
			"free_bytes": v.Size - m.UsedIn(v.Extent()), "type": v.Type, "label": v.Label, "uuid": v.UUID,
			"block_size": v.BlockSize, "whole": v.Whole, "dirty": v.Dirty, "notes": append([]string{}, v.Notes...),
		})
	}
	return list
}
