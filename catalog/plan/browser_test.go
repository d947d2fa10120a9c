package plan

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// In a browser the page's policy lets its filter run, and its style apply.
func TestRootPageInABrowser(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "chromium")
	var b bytes.Buffer
	if err := sample(t).WritePage(&b, "Room 12"); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	dom := func(name string) string {
		t.Helper()
		out, err := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
			"--disable-background-networking", "--user-data-dir="+t.TempDir(), "--dump-dom", "file://"+name).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	if got := dom(name); !strings.Contains(got, ">21 of 21</span>") || strings.Contains(got, `id="filter" hidden`) {
		t.Errorf("the filter does not run:\n%.2000s", got)
	}
	changed := strings.Replace(b.String(), `at("filter").hidden = false;`, `at("filter").hidden = false; `, 1)
	if err := os.WriteFile(name, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := dom(name); strings.Contains(got, "21 of 21") {
		t.Error("a script that is not the page's own runs")
	}
}
