package apply

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
)

// windowsSimple makes a bundle for a Windows; payload is its part of
// bundle.yaml.
func windowsSimple(t *testing.T, name, payload string, files map[string]string) string {
	t.Helper()
	return build(t, "schema: 1\nname: "+name+"\nversion: 1.0.0\nscheme: semver\nfamily: windows\npayload:\n"+payload, files)
}

// In a Windows a file belongs to the product that laid it, however another one
// spells its path; and what came later is undone first.
func TestRootWindowsSpelling(t *testing.T) {
	dir := windows(t, nil)
	laid := filepath.Join(dir, "Program Files/X/a.txt")
	overlay := "  - overlay: {from: files, to: /}\n"
	if err := tryApply(t, dir, windowsSimple(t, "a", overlay, map[string]string{"files/Program Files/X/a.txt": "one of a\n"})); err != nil {
		t.Fatal(err)
	}
	err := tryApply(t, dir, windowsSimple(t, "b", overlay, map[string]string{"files/program files/x/A.TXT": "of b\n"}))
	if !errors.Is(err, ErrConflict) || !strings.Contains(err.Error(), "a@1.0.0-1") {
		t.Errorf("laying it in another case: %v, want that it belongs to a@1.0.0-1", err)
	}
	if got, err := os.ReadFile(laid); string(got) != "one of a\n" {
		t.Errorf("%s: %q, %v", laid, got, err)
	}
	line := "  - line: {path: /program files/x/A.TXT, match: '^one', line: one of c}\n"
	if err := tryApply(t, dir, windowsSimple(t, "c", line, nil)); err != nil {
		t.Fatal(err)
	}
	if err := undoOf(t, dir, "a"); !errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), "c@1.0.0-1") {
		t.Errorf("undoing a: %v, want that c@1.0.0-1 has to be undone first", err)
	}
	undoProducts(t, dir, "c")
	undoProducts(t, dir, "a")
	if _, err := os.Lstat(filepath.Dir(laid)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v, want it to be gone", filepath.Dir(laid), err)
	}
}

// Undo knows what is of the bundle in a directory that is to go, however the
// bundle spelled it.
func TestRootWindowsSpellingUndo(t *testing.T) {
	dir := windows(t, nil)
	file := windowsSimple(t, "a", "  - overlay: {from: files, to: /}\n  - line: {path: /Program Files/Y/b.txt, line: more, create: true}\n",
		map[string]string{"files/Program Files/X/a.txt": "a"})
	if err := tryApply(t, dir, file); err != nil {
		t.Fatal(err)
	}
	from, to := filepath.Join(dir, "Program Files/X/a.txt"), filepath.Join(dir, "Program Files/X/A.TXT")
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	undoProducts(t, dir, "a")
	if _, err := os.Lstat(filepath.Join(dir, "Program Files")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Program Files: %v, want it to be gone", err)
	}
}

func TestCompileSpellings(t *testing.T) {
	for family, want := range map[string]error{bundle.Windows: ErrConflict, bundle.Linux: nil} {
		c, _ := testCompiler("text")
		c.manifest.Family = family
		l := bundle.Line{Path: "ETC/Fresh", Line: "x", Create: true}
		err := errors.Join(
			c.payload(&bundle.Payload{Overlay: &bundle.Overlay{Entries: []bundle.Entry{entry("etc/fresh", bundle.RegularFile)}}}),
			c.payload(&bundle.Payload{Line: &l}),
		)
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", family, err, want)
		}
	}
}
