package debian

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// ar returns an ar archive of members, each a name and its content.
func ar(members ...string) []byte {
	out := []byte(arMagic)
	for i := 0; i < len(members); i += 2 {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", members[i], 0, 0, 0, 0o100644, len(members[i+1]), members[i+1])
		if len(members[i+1])%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

// tarred returns a tar archive of entries. A file has its own name as content.
func tarred(t testing.TB, entries ...tar.Header) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(w, h.Name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// deb returns a package with these files, without compression.
func deb(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	return ar("debian-binary", "2.0\n", "control.tar", "odd", "data.tar/", tarred(t, entries...))
}

// lines returns a line for each file of a package.
func lines(r io.Reader) ([]string, error) {
	var out []string
	err := unpack(r, func(f File) error {
		content, err := io.ReadAll(f)
		if int64(len(content)) != f.Size {
			return fmt.Errorf("%s has %d bytes, want %d", f.Name, len(content), f.Size)
		}
		out = append(out, fmt.Sprintf("%v %s %s %s", f.Mode, f.Name, f.Link, content))
		return err
	})
	return out, err
}

func TestUnpack(t *testing.T) {
	got, err := lines(bytes.NewReader(deb(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
		tar.Header{Name: "./boot/vmlinuz", Typeflag: tar.TypeReg, Mode: 0o4644},
		tar.Header{Name: "link", Linkname: "../../etc", Typeflag: tar.TypeSymlink, Mode: 0o777},
		tar.Header{Name: "hard", Linkname: "./boot/vmlinuz", Typeflag: tar.TypeLink, Mode: 0o644},
	)))
	want := []string{
		"drwxr-xr-x .  ", "-rw-r--r-- boot/vmlinuz  ./boot/vmlinuz", "Lrwxrwxrwx link ../../etc ", "-rw-r--r-- hard boot/vmlinuz ",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("unpack = %q, %v, want %q", got, err, want)
	}
}

func TestUnpackRejects(t *testing.T) {
	const format = "2.0\n"
	file := func(name string) string { return tarred(t, tar.Header{Name: name, Typeflag: tar.TypeReg}) }
	whole := string(ar("debian-binary", format, "data.tar", file("a")))
	tests := []struct{ name, text string }{
		{"empty", ""},
		{"no ar archive", "PK" + whole},
		{"no data", string(ar("debian-binary", format))},
		{"data before the format", string(ar("data.tar", file("a")))},
		{"format 3", string(ar("debian-binary", "3.0\n", "data.tar", file("a")))},
		{"unknown compression", string(ar("debian-binary", format, "data.tar.rar", "Rar!"))},
		{"damaged compression", string(ar("debian-binary", format, "data.tar.xz", "no xz"))},
		{"cut in a member", whole[:len(whole)-1200]},
		{"cut in the padding", whole[:len(whole)-200]},
		{"much padding", string(ar("debian-binary", format, "data.tar", file("a")+strings.Repeat("\x00", 1<<20)))},
		{"negative size", strings.Replace(whole, fmt.Sprintf("%-10d`", 4), "-4        `", 1)},
		{"end of a header", strings.Replace(whole, "`\n", "'\n", 1)},
		{"parent", string(ar("debian-binary", format, "data.tar", file("../a")))},
		{"parent inside", string(ar("debian-binary", format, "data.tar", file("a/../../b")))},
		{"absolute", string(ar("debian-binary", format, "data.tar", file("/a")))},
		{"device", string(deb(t, tar.Header{Name: "null", Typeflag: tar.TypeChar}))},
		{"hard link out", string(deb(t, tar.Header{Name: "a", Linkname: "../b", Typeflag: tar.TypeLink}))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := lines(strings.NewReader(tt.text)); !errors.Is(err, ErrMalformed) {
				t.Errorf("unpack = %q, %v, want ErrMalformed", got, err)
			}
		})
	}
}

func TestUnpackStops(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.deb")
	body := deb(t, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "b", Typeflag: tar.TypeReg})
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
	seen := 0
	if err := Unpack(file, func(File) error { seen++; return fs.SkipAll }); err != nil || seen != 1 {
		t.Errorf("Unpack = %v after %d files, want nil after 1", err, seen)
	}
	broken := errors.New("broken")
	if err := Unpack(file, func(File) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("Unpack = %v, want the error of visit", err)
	}
}

// TestUnpackOfDpkg reads packages that dpkg-deb has built.
func TestUnpackOfDpkg(t *testing.T) {
	lab.Tools(t, "dpkg-deb")
	tree := t.TempDir()
	for name, text := range map[string]string{
		"DEBIAN/control": "Package: sample\nVersion: 1\nArchitecture: all\nMaintainer: us <us@example.org>\nDescription: x\n",
		"usr/a":          strings.Repeat("text ", 50_000),
		"usr/b":          "",
	} {
		file := filepath.Join(tree, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/usr/a", filepath.Join(tree, "usr/c")); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"none", "gzip", "xz", "zstd"} {
		t.Run(method, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "sample.deb")
			lab.Run(t, "dpkg-deb", "--root-owner-group", "-Z"+method, "--build", tree, file)
			var got []string
			err := Unpack(file, func(f File) error {
				content, err := io.ReadAll(f)
				got = append(got, fmt.Sprint(f.Name, " ", len(content), " ", f.Link))
				return err
			})
			slices.Sort(got)
			if want := []string{". 0 ", "usr 0 ", "usr/a 250000 ", "usr/b 0 ", "usr/c 0 /usr/a"}; err != nil || !slices.Equal(got, want) {
				t.Errorf("Unpack = %q, %v, want %q", got, err, want)
			}
		})
	}
}

// FuzzUnpack holds every name to stay inside, and content to have the size that
// was announced. Compressed data is left out: the library's own limit is 4 GiB.
func FuzzUnpack(f *testing.F) {
	f.Add(deb(f, tar.Header{Name: "./a/b", Typeflag: tar.TypeReg}, tar.Header{Name: "c", Linkname: "/d", Typeflag: tar.TypeSymlink}))
	f.Add(ar("debian-binary", "2.0\n", "x", "odd", "data.tar", ""))
	f.Fuzz(func(t *testing.T, p []byte) {
		if bytes.Contains(p, []byte("data.tar.")) {
			return
		}
		_ = unpack(bytes.NewReader(p), func(file File) error {
			if !fs.ValidPath(file.Name) {
				t.Errorf("name %q", file.Name)
			}
			if kind := file.Mode.Type(); kind != 0 && kind != fs.ModeDir && kind != fs.ModeSymlink {
				t.Errorf("%q has mode %v", file.Name, file.Mode)
			}
			n, err := io.Copy(io.Discard, file)
			if err == nil && n != file.Size {
				t.Errorf("%q has %d bytes, announced %d", file.Name, n, file.Size)
			}
			return err
		})
	})
}
