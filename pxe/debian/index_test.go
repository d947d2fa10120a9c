package debian

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"slipcast/catalog/version"
)

// listed is a package as it stands in a list.
func listed(name, version, depends string, body []byte) string {
	e := entryOf(body)
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: amd64\nDepends: %s\nFilename: pool/%s_%s.deb\nSize: %d\nSHA256: %x\n\n",
		name, version, depends, name, version, e.size, e.digest)
}

func TestIndexKeepsTheNewest(t *testing.T) {
	x := index{}
	for suite, text := range map[string]string{
		"old": listed("linux", "6.12.9-1", "kmod", nil) + listed("linux", "6.12.107-1", "kmod", nil),
		"new": listed("linux", "6.12.117-1", "kmod", nil) + listed("linux", "6.12.94-1", "kmod", nil),
	} {
		if err := x.read(strings.NewReader(text), suite); err != nil {
			t.Fatal(err)
		}
	}
	if p := x["linux"]; p.Version.String() != "6.12.117-1" || p.Suite != "new" || len(x) != 1 {
		t.Errorf("index = %+v, want linux 6.12.117-1 of suite new alone", x)
	}
}

func TestDependency(t *testing.T) {
	tests := []struct{ depends, prefix, want string }{
		{"linux-image-6.12.117+deb13-amd64 (= 6.12.117-1)", "linux-image-", "linux-image-6.12.117+deb13-amd64"},
		{"kmod, a | linux-image-1:amd64, linux-image-2", "linux-image-", "linux-image-1"},
		{"kmod", "linux-image-", ""},
		{"", "", ""},
		{"linux-image-../../x", "linux-image-", ""},
	}
	for _, tt := range tests {
		if got := (Package{Depends: tt.depends}).dependency(tt.prefix); got != tt.want {
			t.Errorf("dependency of %q = %q, want %q", tt.depends, got, tt.want)
		}
	}
}

func TestIndexRejects(t *testing.T) {
	good := listed("linux", "1", "", nil)
	for _, change := range [][2]string{
		{"Package: linux", "Package: ../x"},
		{"Package: linux", "Package: "},
		{"Filename: pool/", "Filename: ../"},
		{"Filename: pool/", "Filename: /"},
		{".deb", ".exe"},
		{"Version: 1", "Version: "},
		{"Size: 0", "Size: x"},
		{"SHA256: ", "SHA256: 0"},
	} {
		text := strings.Replace(good, change[0], change[1], 1)
		if text == good {
			t.Fatalf("%q is not in %q", change[0], good)
		}
		if err := (index{}).read(strings.NewReader(text), "s"); !errors.Is(err, ErrMalformed) {
			t.Errorf("with %q: %v, want ErrMalformed", change[1], err)
		}
	}
}

// FuzzIndex holds what is read to be fit for use as a name and as a path.
func FuzzIndex(f *testing.F) {
	f.Add(listed("linux", "1:6.12-1", "kmod | x", nil) + listed("linux", "2", "", nil))
	f.Fuzz(func(t *testing.T, text string) {
		x := index{}
		if err := x.read(strings.NewReader(text), "s"); err != nil {
			return
		}
		for name, p := range x {
			if p.Name != name || !isName(name) || !fs.ValidPath(p.Filename) || p.Size < 0 {
				t.Errorf("%q gives %+v", text, p)
			}
			if d := p.dependency(""); d != "" && !isName(d) {
				t.Errorf("%q depends on %q", p.Depends, d)
			}
			if again, err := version.Parse("deb", p.Version.String()); err != nil || again != p.Version {
				t.Errorf("version %v reads back as %v, %v", p.Version, again, err)
			}
		}
	})
}
