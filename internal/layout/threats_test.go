package layout

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreats makes sure that every test that section 13 of docs/bundles.md
// names is there, and that no threat is without one.
func TestThreats(t *testing.T) {
	named := 0
	for _, row := range threats(t, "../..") {
		tests := namedTest.FindAllStringSubmatch(row[2], -1)
		if len(tests) == 0 {
			t.Errorf("no test for %q", row[0])
		}
		for _, m := range tests {
			named++
			if why := missing("../..", m[1], m[2], m[3]); why != "" {
				t.Errorf("%q: %s", row[0], why)
			}
		}
		if rest := strings.Trim(namedTest.ReplaceAllString(row[2], ""), ", "); rest != "" {
			t.Errorf("%q: %q is no name of a test", row[0], rest)
		}
	}
	if named < 20 {
		t.Errorf("the table names %d tests; it was not read right", named)
	}
}

// TestMissing shows that a test that is not there is missed.
func TestMissing(t *testing.T) {
	for _, m := range [][3]string{{"internal/layout", "TestMissin", ""}, {"internal/none", "TestMissing", ""}, {"cmd/slipcast", "TestScripts", "none"}} {
		if missing("../..", m[0], m[1], m[2]) == "" {
			t.Errorf("%q is not missed", m)
		}
	}
	if why := missing("../..", "internal/layout", "TestMissing", ""); why != "" {
		t.Error(why)
	}
}

// namedTest is a package and a test, maybe with the name of a testscript.
var namedTest = regexp.MustCompile("`([a-z/]+) ((?:Test|Fuzz)[A-Za-z0-9]+)(?:/([a-z_]+))?`")

// threats returns the rows of the table in section 13.
func threats(t *testing.T, root string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/bundles.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## 13. Threats\n")
	if !found {
		t.Fatal("docs/bundles.md has no section 13 about threats")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows [][]string
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if strings.HasPrefix(line, "| ") && len(cells) == 3 && cells[0] != "threat" && !strings.HasPrefix(cells[0], "---") {
			rows = append(rows, cells)
		} else if strings.HasPrefix(line, "|") && len(cells) != 3 {
			t.Errorf("not three cells: %s", line)
		}
	}
	return rows
}

// missing tells why a test is not there, empty if it is.
func missing(root, pkg, test, script string) string {
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		return err.Error()
	}
	if script != "" {
		if _, err := os.Stat(filepath.Join(root, pkg, "testdata/script", script+".txtar")); err != nil {
			return err.Error()
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err.Error()
		}
		if strings.Contains(string(text), "\nfunc "+test+"(") {
			return ""
		}
	}
	return pkg + " has no test " + test
}
