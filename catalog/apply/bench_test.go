package apply

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// BenchmarkRootApply applies 10,000 files of 500 MB together to ext4, and
// unpacks the same with tar and sync beside it.
func BenchmarkRootApply(b *testing.B) {
	lab.Root(b)
	lab.Tools(b, "tar")
	src := filepath.Join(b.TempDir(), "payload")
	const files, size = 10000, 50000
	chance := rand.NewChaCha8([32]byte{1})
	p := make([]byte, size)
	for i := range files {
		_, _ = chance.Read(p[:size/2]) // the rest compresses well
		dir := filepath.Join(src, "files/opt", fmt.Sprint(i%100))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), p, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	file := buildAt(b, src, "schema: 1\nname: corpus\nversion: 1.0.0\nscheme: semver\npayload:\n  - overlay: {from: files, to: /}\n")
	archive := filepath.Join(b.TempDir(), "payload.tar.zst")
	lab.Run(b, "tar", "--zstd", "-cf", archive, "-C", filepath.Join(src, "files"), ".")
	for b.Loop() {
		b.StopTimer()
		f := newFilesystem(b, "ext4", 2<<30)
		g := newFilesystem(b, "ext4", 2<<30)
		populate(b, f.dir)
		b.StartTimer()
		begin := time.Now()
		lab.Run(b, "tar", "--zstd", "-xf", archive, "-C", g.dir)
		lab.Sync(b, g.dir)
		tar := time.Since(begin)
		begin = time.Now()
		bundle, err := openBundle(file)
		if err != nil {
			b.Fatal(err)
		}
		r, err := root.Open(f.dir)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Apply(b.Context(), r, bundle, Options{}); err != nil {
			b.Fatal(err)
		}
		r.Close()
		b.ReportMetric(time.Since(begin).Seconds(), "s/apply")
		b.ReportMetric(tar.Seconds(), "s/tar")
	}
}
