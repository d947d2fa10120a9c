package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Install copies a program of this system into the tree in dir, to the path to
// there, with the libraries that it needs.
func Install(t testing.TB, dir, program, to string) {
	t.Helper()
	list, _ := exec.Command("ldd", program).CombinedOutput() // it has no exit code for static ones
	files := map[string]string{program: to}
	for _, library := range regexp.MustCompile(`/\S+\.so\S*`).FindAllString(string(list), -1) {
		files[library] = library
	}
	for from, to := range files {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
