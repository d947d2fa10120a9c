package apply

import (
	"errors"
	"io"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
)

// testCompiler compiles for a world with files of a bundle.
func testCompiler(files ...string) (*compiler, *model) {
	m := newWorld(true, ext("boot"))
	manifest := &bundle.Manifest{}
	for _, text := range files {
		manifest.Files = append(manifest.Files, bundle.File{Size: int64(len(text)), SHA256: digest([]byte(text))})
	}
	data := func(n int) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(files[n])), nil }
	return newCompiler(newDraft(m), manifest, data, map[string]string{"p": "{{q}}", "q": "v"}), m
}

func entry(path string, t bundle.EntryType) bundle.Entry { return bundle.Entry{Path: path, Type: t} }

func TestCompileConflicts(t *testing.T) {
	tests := []struct {
		name    string
		overlay bundle.Overlay
		texts   []string
	}{
		{"two names of one file", bundle.Overlay{Entries: []bundle.Entry{entry("bin/x", bundle.RegularFile), entry("sbin/x", bundle.RegularFile)}}, []string{"sbin/x", "bin/x"}},
		{"laid and deleted", bundle.Overlay{Entries: []bundle.Entry{entry("bin/tool", bundle.RegularFile)}, Delete: []string{"sbin/tool"}}, []string{"sbin/tool", "bin/tool"}},
		{"below a file that is there", bundle.Overlay{Entries: []bundle.Entry{entry("etc/hosts/x", bundle.RegularFile)}}, []string{"etc/hosts/x", "etc/hosts is a file"}},
		{"the place of a file system", bundle.Overlay{Delete: []string{"boot"}}, []string{"boot"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, _ := testCompiler("text")
			err := c.payload(&bundle.Payload{Overlay: &tt.overlay})
			if !errors.Is(err, ErrConflict) {
				t.Fatalf("got %v, want ErrConflict", err)
			}
			for _, text := range tt.texts {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q does not name %q", err, text)
				}
			}
		})
	}
}

// A directory of a bundle does not take the place of a link that the
// distribution has put there.
func TestCompileKeepsLinkToDirectory(t *testing.T) {
	c, m := testCompiler("text")
	entries := []bundle.Entry{entry("sbin", bundle.Directory), entry("sbin/x", bundle.RegularFile)}
	if err := c.payload(&bundle.Payload{Overlay: &bundle.Overlay{Entries: entries}}); err != nil {
		t.Fatal(err)
	}
	steps, _, err := c.steps(t.Context(), Time{Sec: 1})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, s := range steps {
		paths = append(paths, string(s.Path)+string(s.How))
	}
	if got, want := strings.Join(paths, " "), "bintime bin/x"; got != want {
		t.Errorf("steps %q, want %q", got, want)
	}
	if m.calls != 0 {
		t.Error("the disk was written to")
	}
}

func TestCompileLimitsOfFAT(t *testing.T) {
	for _, e := range []bundle.Entry{
		{Path: "boot/EFI/link", Type: bundle.Symlink, Link: "x"},
		{Path: "boot/EFI/x", Type: bundle.RegularFile, Xattrs: []bundle.Xattr{{Name: "user.x"}}},
	} {
		c, _ := testCompiler("text")
		m := newWorld(false, fat("boot"))
		c.draft = newDraft(m)
		if err := c.payload(&bundle.Payload{Overlay: &bundle.Overlay{Entries: []bundle.Entry{e}}}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := c.steps(t.Context(), Time{}); err == nil || !strings.Contains(err.Error(), "vfat has no") {
			t.Errorf("%s: got %v, want that vfat has no such thing", e.Path, err)
		}
	}
}

// What Windows could not open is not made where it looks.
func TestCompileNamesOfFAT(t *testing.T) {
	for path, want := range map[string]string{
		"boot/EFI/aux.efi": "is the name of a device", "boot/a:b/x": "has one of", "boot/EFI/x.": "ends with a dot",
		"boot/EFI/loader": "", "etc/aux": "",
	} {
		c, _ := testCompiler("text")
		c.draft = newDraft(newWorld(false, fat("boot")))
		if err := c.payload(&bundle.Payload{Overlay: &bundle.Overlay{Entries: []bundle.Entry{entry(path, bundle.RegularFile)}}}); err != nil {
			t.Fatal(err)
		}
		_, _, err := c.steps(t.Context(), Time{})
		if want == "" && err != nil || want != "" && (!errors.Is(err, root.ErrName) || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"p": "{{q}}", "q": "v", "empty": ""}
	for in, want := range map[string]string{
		"": "", "plain": "plain", "{{q}}": "v", "a{{q}}b{{q}}c": "avbvc", "{{p}}": "{{q}}", "{{empty}}": "",
		"{{no}} {{q}}": "{{no}} v", "{{q": "{{q", "{{{q}}}": "{v}", "{{ q }}": "{{ q }}",
	} {
		if got := string(expand([]byte(in), values)); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParameters(t *testing.T) {
	list := []bundle.Param{{Name: "a", Default: "x"}, {Name: "s", Secret: true}, {Name: "host", Machine: "name"}}
	if _, err := parameters(list, nil, nil); err == nil {
		t.Error("a parameter of the machine without a machine is taken")
	}
	if _, err := parameters(list, map[string]string{"host": "h", "b": "1"}, nil); err == nil {
		t.Error("a parameter that the bundle does not have is taken")
	}
	for _, name := range []string{"a", "s", "host"} {
		given := map[string]string{"host": "h", name: "Gr\xfc\xdfe"}
		if _, err := parameters(list, given, nil); err == nil || !strings.Contains(err.Error(), "parameter "+name) || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("Latin-1 in %s: %v, want an error that names it", name, err)
		}
	}
	got, err := parameters(list, map[string]string{"host": "h", "s": "secret"}, nil)
	if err != nil || got["a"] != "x" || got["host"] != "h" {
		t.Errorf("got %v, %v", got, err)
	}
	shown, secrets := settings(list, got)
	for _, s := range shown {
		if s.Value == "secret" {
			t.Error("a secret is in the receipt")
		}
	}
	if len(secrets) != 1 || secrets[0] != "s" {
		t.Errorf("secrets %v, want s", secrets)
	}
}
