package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

const mib = 1 << 20

// labRun runs slipcast in this process, expects an exit code, and returns what
// it printed.
func labRun(t testing.TB, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := run(args, strings.NewReader(""), &out, &errs); got != want {
		t.Fatalf("slipcast %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, want, &out, &errs)
	}
	return out.String(), errs.String()
}

// labCapture captures source and returns the path of the image.
func labCapture(t testing.TB, source string, flags ...string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "disk.img.zst")
	labRun(t, exitDone, append([]string{"capture", source, image}, flags...)...)
	return image
}

// labRestore restores image to target.
func labRestore(t testing.TB, image, target string, flags ...string) {
	t.Helper()
	labRun(t, exitDone, append([]string{"restore", "--yes", image, target}, flags...)...)
}

// labJSON runs slipcast with --json and returns the last object that it
// printed on stdout.
func labJSON(t testing.TB, args ...string) map[string]any {
	t.Helper()
	stdout, _ := labRun(t, exitDone, append(args, "--json")...)
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	object := map[string]any{}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &object); err != nil {
		t.Fatalf("slipcast %s printed %q: %v", strings.Join(args, " "), stdout, err)
	}
	return object
}

// labNumber returns a number in an object of --json.
func labNumber(t testing.TB, object map[string]any, key string) int64 {
	t.Helper()
	n, ok := object[key].(float64)
	if !ok {
		t.Fatalf("no number %q in %v", key, object)
	}
	return int64(n)
}

// labVolume returns what inspect says of the volume of partition number.
func labVolume(t testing.TB, image string, number int) map[string]any {
	t.Helper()
	for _, v := range labJSON(t, "inspect", image)["volumes"].([]any) {
		if v := v.(map[string]any); labNumber(t, v, "partition") == int64(number) {
			return v
		}
	}
	t.Fatalf("%s has no volume %d", image, number)
	return nil
}

// labBinary builds the program as it is released, without the race detector.
func labBinary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "slipcast")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// labDisk makes a disk of size bytes in a file, with the table that an sfdisk
// script describes, or none.
func labDisk(t testing.TB, size int64, sector int, script string) string {
	t.Helper()
	path := lab.File(t, size)
	labTable(t, path, sector, script)
	return path
}

// labTable writes the table that an sfdisk script describes to a file.
func labTable(t testing.TB, path string, sector int, script string) {
	t.Helper()
	if script == "" {
		return
	}
	dev, detach := lab.Attach(t, path, sector)
	defer detach()
	cmd := exec.Command("sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", "--wipe=always", dev)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sfdisk: %v\n%s", err, out)
	}
}

// labTarget makes a file of size bytes, none of which is zero.
func labTarget(t testing.TB, size int64) string {
	t.Helper()
	path := lab.File(t, size)
	lab.Garbage(t, path, size, nil)
	return path
}

// labRandom fills a device or file with bytes that do not compress.
func labRandom(t testing.TB, path string, size int64) {
	t.Helper()
	lab.Run(t, "dd", "if=/dev/urandom", "of="+path, "bs=64K", fmt.Sprintf("count=%d", size),
		"iflag=count_bytes,fullblock", "conv=notrunc,fsync", "status=none")
}

// labManifest returns the extents in use of the image at path, and the size of
// its disk in bytes.
func labManifest(t testing.TB, path string) (used partition.Extents, size int64) {
	t.Helper()
	im, err := openImageFile(t.Context(), path, &imageFlags{})
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	return im.Used, im.Layout.Size
}

// labWantTable fails the test unless the system's own tools find the table of
// a disk without fault. kind is as libblkid names it.
func labWantTable(t testing.TB, dev, kind string) {
	t.Helper()
	if got := labProbe(dev, "PTTYPE"); got != kind {
		t.Errorf("blkid finds a table of kind %q on %s, want %q", got, dev, kind)
	}
	lab.Run(t, "sfdisk", "--verify", dev)
	if kind != "gpt" {
		return
	}
	if out := lab.Run(t, "sgdisk", "--verify", dev); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk --verify %s: %s", dev, out)
	}
}

// labProbe returns what blkid finds on a device, "" if it finds nothing.
func labProbe(dev, tag string) string {
	out, _ := exec.Command("blkid", "--probe", "--output", "value", "--match-tag", tag, dev).Output()
	return strings.TrimSpace(string(out))
}

// labWantImage fails the test unless zstd makes of the image the disk at path
// with zeros for whatever is not in use. Places in except may differ.
func labWantImage(t testing.TB, image, path string, except partition.Extents) {
	t.Helper()
	lab.Run(t, "zstd", "--test", "--quiet", image)
	if err := labCompare(t, image, path, except); err != nil {
		t.Error(err)
	}
}

// labCompare compares what zstd makes of the image with the disk at path.
func labCompare(t testing.TB, image, path string, except partition.Extents) error {
	t.Helper()
	used, size := labManifest(t, image)
	disk, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	cmd := exec.CommandContext(t.Context(), "zstd", "--decompress", "--stdout", "--quiet", image)
	raw, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		raw.Close()
		_ = cmd.Wait() // it may not have come to its end
	}()
	if err := labCompareMasked(raw, disk, size, used, except); err != nil {
		return fmt.Errorf("comparing zstd -dc %s with %s: %w", image, path, err)
	}
	if n, _ := raw.Read(make([]byte, 1)); n > 0 {
		return fmt.Errorf("zstd -dc %s gives more than %d bytes", image, size)
	}
	return nil
}

// labCompareMasked compares size bytes of raw with the bytes in use of disk.
func labCompareMasked(raw io.Reader, disk io.ReaderAt, size int64, used, except partition.Extents) error {
	want, have := make([]byte, mib), make([]byte, mib)
	for at := int64(0); at < size; at += mib {
		place := partition.Extent{Start: at, Length: min(mib, size-at)}
		want, have := want[:place.Length], have[:place.Length]
		if _, err := io.ReadFull(raw, want); err != nil {
			return err
		}
		if n, err := disk.ReadAt(have, at); n < len(have) && err != io.EOF {
			return err
		}
		for _, gap := range used.Gaps(place) {
			clear(have[gap.Start-at : gap.End()-at])
		}
		for _, e := range except.Within(place) {
			copy(have[e.Start-at:e.End()-at], want[e.Start-at:e.End()-at])
		}
		if !bytes.Equal(want, have) {
			i := 0
			for want[i] == have[i] {
				i++
			}
			return fmt.Errorf("byte %d is %#x, want %#x", at+int64(i), have[i], want[i])
		}
	}
	return nil
}
