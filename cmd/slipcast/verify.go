package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"slipcast/image"
	"slipcast/internal/progress"
	"slipcast/partition"
)

func newVerifyCmd(env *env) *cobra.Command {
	var number int
	var flags imageFlags
	cmd := &cobra.Command{
		Use:   "verify IMAGE [TARGET]",
		Short: "Check an image, or a disk against it",
		Long: `Verify reads every frame of IMAGE and checks it against the image's digests.
With TARGET, it reads TARGET instead and tells which of its chunks differ from
the image, and to which partition they belong. What is not in use does not
count. TARGET is only read.

` + imageHelp,
		Example: `  slipcast verify room-12.img.zst
  slipcast verify room-12.img.zst /dev/sda`,
		Args: operands("IMAGE", "[TARGET]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				return runCompare(cmd.Context(), env, args[0], args[1], number, &flags)
			}
			if number != 0 {
				return usagef("verify: --partition needs a TARGET")
			}
			return runVerify(cmd.Context(), env, args[0], &flags)
		},
	}
	addImageFlags(cmd, &flags)
	cmd.Flags().Var((*partitionNumber)(&number), "partition", "compare only partition `N` of IMAGE with the partition TARGET")
	return cmd
}

// runVerify checks the image at path.
func runVerify(ctx context.Context, env *env, path string, flags *imageFlags) error {
	began := time.Now()
	im, err := openImageFile(ctx, path, flags)
	if err == nil {
		defer im.Close()
		meter := env.meter("verifying", "verify", im.Used.Size())
		err = im.Verify(ctx, image.VerifyOptions{Progress: meter.Add})
		meter.Done(err)
	}
	if err != nil {
		return fmt.Errorf("verifying %s: %w", path, err)
	}
	took := time.Since(began)
	env.sum(fmt.Sprintf("verified %s in %s", path, speed(im.Used.Size(), took)),
		fact{"checked", fmt.Sprintf("%s, %s in use", count(im.ChunkCount(), "chunk"), progress.Bytes(im.Used.Size()))},
		fact{"digest", im.Digest.String()})
	env.result(map[string]any{
		"type": "verified", "image": path, "digest": im.Digest.String(),
		"chunks": im.ChunkCount(), "used_bytes": im.Used.Size(), "seconds": took.Seconds(),
	}, false)
	return nil
}

// runCompare tells what on the target at dst differs from the image at path.
func runCompare(ctx context.Context, env *env, path, dst string, number int, flags *imageFlags) error {
	err := compare(ctx, env, path, dst, number, flags)
	if err != nil {
		return fmt.Errorf("comparing %s with %s: %w", dst, path, err)
	}
	return nil
}

func compare(ctx context.Context, env *env, path, dst string, number int, flags *imageFlags) error {
	im, err := openImageFile(ctx, path, flags)
	if err != nil {
		return err
	}
	defer im.Close()
	dev, err := openSource(dst, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	chunks, used := compared(&im.Manifest, number)
	meter := env.meter("comparing", "compare", used)
	var found []image.Difference
	err = im.Compare(ctx, dev, dev.Size(), image.VerifyOptions{Progress: meter.Add, Partition: number},
		func(d image.Difference) { found = append(found, d) })
	meter.Done(err)
	if err != nil {
		return err
	}
	env.showDifferences(found)
	env.result(map[string]any{
		"type": "compared", "image": path, "target": dst, "digest": im.Digest.String(),
		"chunks": chunks, "differing_chunks": len(found),
	}, false)
	if len(found) > 0 {
		return fmt.Errorf("found %d of %s to differ", len(found), count(chunks, "chunk"))
	}
	env.say("compared %s with %s: no difference in %s, %s in use", dst, path, count(chunks, "chunk"), progress.Bytes(used))
	return nil
}

// compared returns how many chunks and bytes in use there are to compare, for
// number 0 of the whole image, else of that partition.
func compared(m *image.Manifest, number int) (chunks int, used int64) {
	window := partition.Extent{Length: m.Layout.Size}
	if p := m.Table.Partition(number); p != nil {
		window = p.Extent()
	}
	for range m.Chunks(window) {
		chunks++
	}
	return chunks, m.UsedIn(window)
}

// showDifferences prints one object for each chunk that differs, or one line
// for people where chunks lie side by side.
func (e *env) showDifferences(found []image.Difference) {
	if e.json {
		for _, d := range found {
			e.object(e.stdout, map[string]any{
				"type": "difference", "chunk": d.Chunk, "start": d.Start, "length": d.Length, "place": d.Place,
			})
		}
		return
	}
	for len(found) > 0 {
		n := sideBySide(found)
		first, last := found[0], found[n-1]
		name := fmt.Sprintf("chunk %d", first.Chunk)
		if n > 1 {
			name = fmt.Sprintf("chunks %d to %d", first.Chunk, last.Chunk)
		}
		e.print(e.stdout, "%s, %s at offset %d: %s\n", name, progress.Bytes(last.End()-first.Start), first.Start, first.Place)
		found = found[n:]
	}
}

// sideBySide returns how many of the first differences lie side by side in the
// same place; found is not empty.
func sideBySide(found []image.Difference) int {
	n := 1
	for n < len(found) && found[n].Start == found[n-1].End() && found[n].Place == found[0].Place {
		n++
	}
	return n
}
