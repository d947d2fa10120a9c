package layout

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "slipcast/"

// lab may be imported by tests alone.
const lab = "internal/lab"

// rows are all packages that there may be, from the ground up, each with the
// packages of this module that it may import. Those that are not written yet
// have their place held free.
var rows = map[string][]string{
	"internal/blockdev": {},
	"internal/durable":  {},
	"internal/progress": {},
	"internal/layout":   {},

	"partition":       {},
	"partition/fsmap": {"partition"},
	lab:               {"partition"},

	"image":       {"partition", "partition/fsmap"},
	"image/store": {"image", "internal/durable"},
	"multicast":   {},
	"pxe":         {"pxe/tftp"},
	"pxe/tftp":    {},
	"pxe/debian":  {"catalog/version"},
	"pxe/bootenv": {"pxe/debian"},

	"catalog/version":   {},
	"catalog/condition": {"catalog/version"},
	"catalog/bundle":    {"catalog/version", "catalog/condition"},
	"catalog/trust":     {"catalog/bundle", "catalog/version", "internal/durable"},
	"catalog/root":      {"partition", "partition/fsmap", "internal/blockdev"},
	"catalog/sandbox":   {"catalog/root"},
	"catalog/probe":     {"catalog/root", "catalog/condition", "catalog/version", "catalog/bundle"},
	"catalog/plan":      {"catalog/bundle", "catalog/condition", "catalog/version", "catalog/trust"},
	"catalog/apply": {
		"catalog/bundle", "catalog/root", "catalog/sandbox", "catalog/probe", "catalog/condition", "catalog/version",
	},
	"catalog/bake": {
		"catalog/bundle", "catalog/root", "catalog/sandbox", "catalog/apply", "catalog/plan", "catalog/probe", "catalog/condition", "catalog/trust", "catalog/version",
		"image", "partition", "partition/fsmap", "internal/blockdev", "internal/progress",
	},
	"catalog/depot": {"catalog/bundle", "catalog/trust", "image", "image/store", "internal/durable"},

	"agent/wire":     {},
	"agent/kmod":     {},
	"agent/hardware": {"agent/wire", "internal/blockdev"},
	"agent/uefi":     {},
	"agent/fresh":    {"partition", "internal/blockdev"},

	"agent": {
		"agent/wire", "agent/kmod", "agent/hardware", "agent/uefi", "agent/fresh",
		"image", "multicast", "catalog/trust", "catalog/bundle", "catalog/root", "catalog/plan", "catalog/probe", "catalog/apply", "catalog/sandbox",
		"catalog/condition", "partition", "partition/fsmap", "internal/blockdev", "internal/progress",
	},
	"fleet": {
		"agent/wire", "image", "image/store", "multicast", "pxe", "catalog/trust", "catalog/bundle", "catalog/plan", "catalog/condition",
	},

	"cmd/slipcast": {
		"image", "image/store", "multicast", "pxe", "pxe/tftp", "pxe/debian", "pxe/bootenv",
		"catalog/version", "catalog/condition", "catalog/bundle", "catalog/trust", "catalog/root", "catalog/sandbox", "catalog/probe", "catalog/plan",
		"catalog/apply", "catalog/bake", "catalog/depot",
		"agent", "agent/wire", "agent/hardware", "agent/uefi", "fleet",
		"partition", "partition/fsmap", "internal/blockdev", "internal/durable", "internal/progress",
	},
}

// drawers are names that say nothing about what is inside.
var drawers = []string{"util", "utils", "common", "types", "helper", "helpers", "model", "models", "misc", "shared"}

func TestImports(t *testing.T) {
	packages := read(t, "../..")
	if len(packages) == 0 {
		t.Fatal("found no packages")
	}
	for _, p := range packages {
		for _, fault := range faults(p) {
			t.Error(fault)
		}
	}
}

// A pkg is a package of this module with its imports from this module.
type pkg struct {
	path        string
	code, tests []string
}

// read returns the packages below the module's root. It uses no network and
// compiles nothing. Folders that the go tool passes over are passed over.
func read(t *testing.T, root string) []pkg {
	t.Helper()
	var packages []pkg
	err := filepath.WalkDir(root, func(dir string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		if dir != root && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		sources, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(sources) == 0 {
			return err
		}
		path, err := filepath.Rel(root, dir)
		if err != nil {
			return err
		}
		b, err := build.ImportDir(dir, 0)
		if err != nil {
			return err
		}
		packages = append(packages, pkg{
			path:  filepath.ToSlash(path),
			code:  ours(b.Imports),
			tests: ours(slices.Concat(b.TestImports, b.XTestImports)),
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages
}

// ours returns the imports that belong to this module, without its name.
func ours(imports []string) []string {
	var out []string
	for _, path := range imports {
		if rest, ok := strings.CutPrefix(path, module); ok {
			out = append(out, rest)
		}
	}
	return out
}

// faults returns what is wrong with a package, one line for each fault.
func faults(p pkg) []string {
	allowed, known := rows[p.path]
	if !known {
		return []string{p.path + " has no row in internal/layout; a new package needs one, and a paragraph in docs/design.md"}
	}
	var out []string
	for _, path := range p.code {
		if !slices.Contains(allowed, path) {
			out = append(out, p.path+" may not import "+path)
		}
	}
	for _, path := range p.tests {
		if path != p.path && path != lab && !slices.Contains(allowed, path) {
			out = append(out, "the tests of "+p.path+" may not import "+path)
		}
	}
	return out
}

// floors is the picture of the house, from the ground up.
var floors = [][]string{
	{"internal/blockdev", "internal/durable", "internal/progress", "internal/layout", "pxe/tftp", "agent/wire", "agent/kmod", "agent/uefi", "catalog/version"},
	{"partition", "agent/hardware", "pxe/debian", "catalog/condition"},
	{"partition/fsmap", lab, "pxe/bootenv", "agent/fresh", "catalog/bundle"},
	{"image", "multicast", "pxe", "catalog/root", "catalog/trust"},
	{"image/store", "catalog/sandbox", "catalog/probe", "catalog/plan"},
	{"catalog/apply", "catalog/depot"},
	{"catalog/bake"},
	{"agent", "fleet"},
	{"cmd/slipcast"},
}

// floor returns where a package stands, -1 if nowhere.
func floor(path string) int {
	return slices.IndexFunc(floors, func(packages []string) bool { return slices.Contains(packages, path) })
}

// TestRows holds the rows against the rules that they stand for.
func TestRows(t *testing.T) {
	for path, allowed := range rows {
		if floor(path) < 0 {
			t.Errorf("%s stands on no floor", path)
		}
		for _, name := range strings.Split(path, "/") {
			if slices.Contains(drawers, name) {
				t.Errorf("%s: %q says nothing about what is inside", path, name)
			}
		}
		for _, lower := range allowed {
			if floor(lower) >= floor(path) {
				t.Errorf("%s may import %s, which stands no lower", path, lower)
			}
			if lower == lab {
				t.Errorf("%s may import %s, which is for tests alone", path, lab)
			}
		}
	}
}

// TestFaults shows that the table refuses what it should.
func TestFaults(t *testing.T) {
	tests := []struct {
		name string
		pkg  pkg
		want string
	}{
		{"allowed", pkg{path: "image", code: []string{"partition", "partition/fsmap"}, tests: []string{lab}}, ""},
		{"unknown package", pkg{path: "helpers"}, "helpers has no row in internal/layout; a new package needs one, and a paragraph in docs/design.md"},
		{"arrow that points up", pkg{path: "partition", code: []string{"image"}}, "partition may not import image"},
		{"neighbour", pkg{path: "multicast", code: []string{"image"}}, "multicast may not import image"},
		{"device", pkg{path: "image", code: []string{"internal/blockdev"}}, "image may not import internal/blockdev"},
		{"lab outside of tests", pkg{path: "image", code: []string{lab}}, "image may not import internal/lab"},
		{"test that reaches up", pkg{path: "partition", tests: []string{"image"}}, "the tests of partition may not import image"},
		{"external test", pkg{path: "partition", tests: []string{"partition"}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := strings.Join(faults(tt.pkg), "; "); got != tt.want {
				t.Errorf("faults = %q, want %q", got, tt.want)
			}
		})
	}
}

// TestRead shows that imports are found where they stand, in a tree of its own.
func TestRead(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"image/image.go":        "package image\nimport _ \"slipcast/partition\"\nimport _ \"fmt\"\n",
		"image/a_test.go":       "package image\nimport _ \"slipcast/internal/lab\"\n",
		"image/b_test.go":       "package image_test\nimport _ \"slipcast/image\"\n",
		"image/testdata/bad.go": "not Go\n",
		"docs/readme.md":        "text\n",
	} {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got := read(t, root)
	if len(got) != 1 {
		t.Fatalf("read = %+v, want one package", got)
	}
	p := got[0]
	if p.path != "image" || !slices.Equal(p.code, []string{"partition"}) || !slices.Equal(p.tests, []string{lab, "image"}) {
		t.Errorf("read = %+v, want image with partition; %s, image", p, lab)
	}
}
