package debian

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// TestRootMirror opens the security suite of the real archive, finds its newest
// kernel, and compares what is in the meta package with what dpkg sees. It is
// the part of the laboratory that needs the network.
func TestRootMirror(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "dpkg", "dpkg-deb")
	var told int64
	a, err := Open(t.Context(), Source{
		Suites: []string{"trixie-security"}, Cache: t.TempDir(), Progress: func(n int64) { told += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := a.Releases(); len(r) != 1 || r[0].Offline != nil || r[0].ValidUntil.IsZero() {
		t.Errorf("releases = %+v, want one from the mirror, with an end", r)
	}
	kernel, err := a.Resolve("linux-image-amd64", "linux-image-")
	if err != nil || kernel.Size < 50e6 || !strings.HasSuffix(kernel.Name, "-amd64") {
		t.Errorf("Resolve = %+v, %v, want a kernel", kernel, err)
	}
	meta, err := a.Package("linux-image-amd64")
	if err != nil {
		t.Fatal(err)
	}
	file, err := a.Fetch(t.Context(), meta)
	if err != nil {
		t.Fatal(err)
	}
	if told < meta.Size {
		t.Errorf("told of %d bytes, want at least the %d of the package", told, meta.Size)
	}
	if got, want := listing(t, file), dpkgListing(t, file); !slices.Equal(got, want) {
		t.Errorf("files = %q, dpkg-deb has %q", got, want)
	}
}

// listing returns type, size and name of the files of a package.
func listing(t *testing.T, file string) []string {
	t.Helper()
	var out []string
	err := Unpack(file, func(f File) error {
		n, err := io.Copy(io.Discard, f)
		kind := map[fs.FileMode]string{0: "-", fs.ModeDir: "d", fs.ModeSymlink: "l"}[f.Mode.Type()]
		out = append(out, fmt.Sprint(kind, " ", n, " ", f.Name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dpkgListing returns the same from the lines of dpkg-deb: mode, owner, size,
// date, time, name.
func dpkgListing(t *testing.T, file string) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(lab.Run(t, "dpkg-deb", "--contents", file)) {
		f := strings.Fields(line)
		name, err := inside(f[5])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(f[0][:1], " ", f[2], " ", name))
	}
	return out
}
