package fresh

import (
	"encoding/xml"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

const answer = "<unattend><ComputerName>%HOSTNAME%</ComputerName></unattend>"

func place(t *testing.T, dir string, opt Options) *run {
	t.Helper()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r := &run{opt: opt, log: slog.New(slog.DiscardHandler)}
	if err := r.placeAnswer(volume{name: "partition 3"}, root); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlaceAnswer(t *testing.T) {
	for file, files := range map[string]map[string]string{
		"Windows/Panther/unattend.xml": {"Windows/System32/ntoskrnl.exe": "x"},
		"WINDOWS/panther/Unattend.XML": {"WINDOWS/panther/Unattend.XML": "old", "WINDOWS/panther/setupact.log": "log"},
	} {
		dir := t.TempDir()
		lab.Plant(t, dir, files)
		before := lab.Tree(t, dir)
		r := place(t, dir, Options{Answer: answer, Hostname: "PC1"})
		if got, want := read(t, dir, file), strings.ReplaceAll(answer, hostnameMark, "PC1"); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
		if want := "partition 3: " + file; len(r.result.Changed) != 1 || r.result.Changed[0] != want || len(r.result.Notes) > 0 {
			t.Errorf("changed %q, notes %q, want %q", r.result.Changed, r.result.Notes, want)
		}
		if again := place(t, dir, Options{Answer: answer, Hostname: "PC1"}); len(again.result.Changed) > 0 {
			t.Errorf("changed again: %q", again.result.Changed)
		}
		after := lab.Tree(t, dir)
		for _, path := range []string{file, "Windows/Panther"} {
			delete(before, path)
			delete(after, path)
		}
		lab.SameTree(t, after, before)
	}
}

func TestAnswerDoubts(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, map[string]string{"Windows/Panther/Unattend/unattend.xml": "other"})
	r := place(t, dir, Options{Answer: answer, Hostname: "a-name-of-16-char"})
	if notes := strings.Join(r.result.Notes, "\n"); !strings.Contains(notes, "more than the 15") || !strings.Contains(notes, "takes it first") {
		t.Errorf("notes are %q, want two", notes)
	}
}

func TestIsWindows(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  bool
		left  string
	}{
		{"data", map[string]string{"file": "x"}, false, ""},
		{"folder of that name", map[string]string{"Windows/notes": "x"}, false, ""},
		{"installed", map[string]string{"Windows/System32/x": "x"}, true, ""},
		{"upper case", map[string]string{"WINDOWS/SYSTEM32/x": "x"}, true, ""},
		{"was hibernated", map[string]string{"Windows/System32/x": "x", "hiberfil.sys": "wake"}, true, ""},
		{"hibernated", map[string]string{"Windows/System32/x": "x", "hiberfil.sys": "HIBR and more"}, true, "Windows is hibernated"},
		{"hibernated, lower case", map[string]string{"Windows/System32/x": "x", "hiberfil.sys": "hibr"}, true, "Windows is hibernated"},
		{"link", map[string]string{"Windows": "-> /etc"}, false, "is left as it is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			lab.Plant(t, dir, tt.files)
			got, err := isWindows(openDir(t, dir).File)
			var left *leftError
			if tt.left != "" && (!errors.As(err, &left) || !strings.Contains(left.Error(), tt.left)) || tt.left == "" && err != nil || got != tt.want {
				t.Errorf("isWindows = %v, %v, want %v, %q", got, err, tt.want, tt.left)
			}
		})
	}
}

func TestFillIn(t *testing.T) {
	got := fillIn("<a>%HOSTNAME%</a><b>%HOSTNAME%</b>", `<&">`)
	var v struct {
		A string `xml:"a"`
		B string `xml:"b"`
	}
	if err := xml.Unmarshal([]byte("<x>"+string(got)+"</x>"), &v); err != nil || v.A != `<&">` || v.B != v.A {
		t.Errorf("fillIn = %s, which reads as %+v, %v", got, v, err)
	}
}
