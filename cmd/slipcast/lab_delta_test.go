package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// labSpoil changes 4 KiB of bytes in use in every twentieth chunk of the disk
// in a file, apart from the first and the last MiB, and returns how many
// chunks that were.
func labSpoil(t testing.TB, path string, used partition.Extents, size int64) int {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(3, 3))
	n := 0
	for at := int64(7 * mib); at < size-mib; at += 20 * mib {
		places := used.Within(partition.Extent{Start: at, Length: mib})
		if len(places) == 0 {
			continue
		}
		data := make([]byte, min(4096, places[0].Length))
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		if _, err := f.WriteAt(data, places[0].Start); err != nil {
			t.Fatal(err)
		}
		n++
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return n
}

// A delta writes what differs and no more: nothing to a disk that holds the
// image, whatever lies in its unused bytes, and the changed parts if a
// twentieth of its chunks has changed. A capture against the older image
// packs the same chunks again and copies the others.
func TestRootLabDelta(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "zstd", "mkfs.ext4", "e2fsck")
	path, tree := labHeavyDisk(t, 60)
	image := labCapture(t, path)
	used, size := labManifest(t, image)
	for name, sizeOfTarget := range map[string]int64{"same size": size, "larger": size + 33*mib} {
		t.Run(name, func(t *testing.T) {
			file := labTarget(t, sizeOfTarget)
			target, detach := lab.Attach(t, file, 512)
			labRestore(t, image, target)
			labRun(t, exitDone, "verify", image, target)
			detach()
			if sizeOfTarget == size {
				lab.Garbage(t, file, size, used)
			}
			target = lab.Loop(t, file, 512)
			if o := labJSON(t, "restore", "--yes", "--delta", image, target); labNumber(t, o, "written_bytes") != 0 {
				t.Errorf("wrote to a disk that holds the image: %v", o)
			}
			spoilt := labSpoil(t, target, used, size)
			labRun(t, exitFailed, "verify", image, target)
			o := labJSON(t, "restore", "--yes", "--delta", image, target)
			written, kept, chunks := labNumber(t, o, "written_bytes"), labNumber(t, o, "kept_chunks"), labNumber(t, o, "chunks")
			t.Logf("%d of %d chunks were changed, %d were kept, %d bytes were written", spoilt, chunks, kept, written)
			const ends = 4*mib + 64<<10 // the vital bytes of format.md, section 11, wiped and written again, and a moved table
			if most := ends + int64(spoilt)*64<<10; written == 0 || written > most || kept < chunks-int64(spoilt)-3 {
				t.Errorf("%d bytes were written and %d of %d chunks kept, want at most %d bytes and all but %d", written, kept, chunks, most, spoilt)
			}
			labRun(t, exitDone, "verify", image, target)
			labWantTable(t, target, "gpt")
			lab.Run(t, "e2fsck", "-fn", lab.Partition(t, target, 2))
			lab.SameTree(t, labMount("ext4").tree(t, lab.Partition(t, target, 2)), tree)
		})
	}
	t.Run("parent", func(t *testing.T) {
		spoilt := labSpoil(t, path, used, size)
		child := filepath.Join(t.TempDir(), "child.img.zst")
		o := labJSON(t, "capture", "--parent", image, path, child)
		reused, zeros, chunks := labNumber(t, o, "reused_chunks"), labNumber(t, o, "zero_chunks"), labNumber(t, o, "chunks")
		if reused+zeros != chunks-int64(spoilt) {
			t.Errorf("of %d chunks %d were copied and %d are zeros, want all but %d", chunks, reused, zeros, spoilt)
		}
		labRun(t, exitDone, "verify", child)
		labWantImage(t, child, path, nil)
		full := labCapture(t, path)
		if got, want := o["digest"], labJSON(t, "inspect", full)["digest"]; got != want {
			t.Errorf("digest %v, want %v", got, want)
		}
		a, err1 := os.ReadFile(child)
		b, err2 := os.ReadFile(full)
		if err1 != nil || err2 != nil || len(a) < len(b) || bytes.Equal(a, b) { // they tell their parent
			t.Errorf("%v, %v: %d bytes, a full capture has %d", err1, err2, len(a), len(b))
		}
	})
}

// What is not in use is discarded: on a loop device it becomes a hole of its
// file.
func TestRootLabDiscard(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "partx", "sfdisk", "sgdisk", "blkid", "mkfs.ext4", "e2fsck")
	l := labLayouts()[0]
	path, trees := l.make(t)
	image := labCapture(t, path)
	used, size := labManifest(t, image)
	for _, flags := range [][]string{{"--discard"}, {"--discard", "--delta"}} {
		file := labTarget(t, size)
		target, detach := lab.Attach(t, file, 512)
		labRestore(t, image, target, flags...)
		if got := labAllocated(t, file); got > used.Size()+8*mib {
			t.Errorf("%v: the file takes %d bytes, %d are in use", flags, got, used.Size())
		}
		labRun(t, exitDone, "verify", image, target)
		l.check(t, target, trees)
		detach()
	}
}
