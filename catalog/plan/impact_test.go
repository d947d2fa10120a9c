package plan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
)

// A testSurvey knows manifests, places and packages.
type testSurvey struct {
	manifests map[string]*bundle.Manifest
	places    map[string]Place
	packages  map[string]string
	broken    bool
}

func (s *testSurvey) Manifest(_ context.Context, step *Step) (*bundle.Manifest, error) {
	m, ok := s.manifests[step.Bundle]
	if !ok {
		return nil, errors.New("its file is not in the store")
	}
	return m, nil
}

func (s *testSurvey) Place(_ context.Context, path string) (Place, error) {
	if s.broken {
		return Place{}, errors.New("the disk cannot be read")
	}
	return s.places[path], nil
}

func (s *testSurvey) Package(_ context.Context, name string) (string, error) {
	return s.packages[name], nil
}

// survey is a root onto which reader 9.3 goes in two steps.
func survey() (*Plan, *testSurvey) {
	file := func(path string, data int) bundle.Entry {
		return bundle.Entry{Path: path, Type: bundle.RegularFile, Mode: 0o644, Data: data}
	}
	first := &bundle.Manifest{Header: a("reader@9.2-1").Header, Files: []bundle.File{{Size: 100}, {Size: 2000}}, Payload: []bundle.Payload{
		{Overlay: &bundle.Overlay{
			Entries: []bundle.Entry{
				{Path: "opt/reader", Type: bundle.Directory}, file("opt/reader/bin", 0), file("opt/reader/tmp", 1), file("etc/reader.conf", 0),
				{Path: "opt/reader/link", Type: bundle.Symlink, Link: "bin"},
			},
			Delete: []string{"opt/old", "opt/none"},
		}},
		{Line: &bundle.Line{Path: "etc/hosts", Line: "x"}},
		{Line: &bundle.Line{Path: "etc/gone", Line: "x"}},
		{Ini: &bundle.Ini{Path: "etc/new.ini", Key: "k", Create: true}},
		{Deb: []bundle.Package{{Name: "libc6", Version: "2.36-9"}, {Name: "tool", Version: "1.0"}, {Name: "extra", Version: "1"}}},
	}, Run: []bundle.Run{{Phase: bundle.Post, Exec: []string{"sh", "post.sh"}}}}
	second := &bundle.Manifest{Header: a("reader@9.3-1").Header, Files: []bundle.File{{Size: 500}}, Payload: []bundle.Payload{
		{Overlay: &bundle.Overlay{Entries: []bundle.Entry{file("opt/reader/bin", 0)}, Delete: []string{"opt/reader/tmp"}}},
		{Line: &bundle.Line{Path: "etc/reader.conf", Line: "y"}},
		{Deb: []bundle.Package{{Name: "libc6", Version: "2.36-10"}}},
	}}
	p := &Plan{Schema: 1, Steps: []Step{
		{Bundle: "reader@9.2-1", From: "9.4", Bytes: 1500, Downgrade: true}, {Bundle: "reader@9.3-1", Bytes: 700, Reboot: bundle.Required},
	}}
	return p, &testSurvey{
		manifests: map[string]*bundle.Manifest{"reader@9.2-1": first, "reader@9.3-1": second},
		places: map[string]Place{
			"opt/reader/bin": {There: true, Owner: "reader"}, "etc/hosts": {There: true, Owner: "package netbase"},
			"opt/old": {There: true, Files: 12, Owner: "reader"}, "etc/reader.conf": {There: true},
		},
		packages: map[string]string{"libc6": "2.36-8", "tool": "1:0.9", "extra": "1"},
	}
}

func TestAssess(t *testing.T) {
	p, s := survey()
	i, err := Assess(t.Context(), p, 30, s)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range i.Files {
		got = append(got, fmt.Sprintf("%s %s %d %s %v", f.Effect, f.Path, f.Files, f.Owner, f.Bundles))
	}
	want := []string{
		"edited etc/hosts 0 package netbase [reader@9.2-1]",
		"new etc/new.ini 0  [reader@9.2-1]",
		"replaced etc/reader.conf 0  [reader@9.2-1 reader@9.3-1]",
		"removed opt/old 12 reader [reader@9.2-1]",
		"replaced opt/reader/bin 0 reader [reader@9.2-1 reader@9.3-1]",
		"new opt/reader/link 0  [reader@9.2-1]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("files\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if i.Machines != 30 || i.Steps != 2 || i.Reboots != 1 || i.Bytes != 2200 || i.Written != 2700 || i.Count(Removed) != 12 {
		t.Errorf("%+v: a sum is wrong", i)
	}
	if fmt.Sprint(i.Owners) != "[{package netbase 1} {reader 13}]" {
		t.Errorf("owners %v", i.Owners)
	}
	if fmt.Sprint(i.Downgrades) != "[reader 9.4 to 9.2 package tool 1:0.9 to 1.0]" {
		t.Errorf("downgrades %v", i.Downgrades)
	}
	if fmt.Sprint(i.Packages) != "[{extra 1 1 same reader@9.2-1} {libc6 2.36-8 2.36-10 replaced reader@9.3-1} {tool 1:0.9 1.0 downgraded reader@9.2-1}]" {
		t.Errorf("packages %v", i.Packages)
	}
}

func TestAssessFails(t *testing.T) {
	p, s := survey()
	delete(s.manifests, "reader@9.3-1")
	if _, err := Assess(t.Context(), p, 1, s); err == nil || err.Error() != "reader@9.3-1: its file is not in the store" {
		t.Errorf("without a file: %v", err)
	}
	p, s = survey()
	s.broken = true
	if _, err := Assess(t.Context(), p, 1, s); err == nil || err.Error() != "reader@9.2-1: the disk cannot be read" {
		t.Errorf("with a damaged disk: %v", err)
	}
	p, s = survey()
	s.packages["tool"] = "no version"
	if _, err := Assess(t.Context(), p, 1, s); err == nil {
		t.Error("a package with a version that is none: no error")
	}
}

func TestImpactText(t *testing.T) {
	p, s := survey()
	i, err := Assess(t.Context(), p, 30, s)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := i.WriteText(&b, true, func(n int64) string { return fmt.Sprint(n, " B") }); err != nil {
		t.Fatal(err)
	}
	const want = `machines   30
bundles    2, 2200 B for each machine
reboots    1
files      2 new, 2 replaced, 1 edited, 12 removed, 2700 B of contents
owner      package netbase: 1 file
owner      reader: 13 files
package    extra 1, which is there
package    libc6 2.36-8 to 2.36-10
package    tool 1:0.9 to 1.0
downgrade  reader 9.4 to 9.2
downgrade  package tool 1:0.9 to 1.0
program    reader@9.2-1: post: ["sh" "post.sh"]
edited     etc/hosts of package netbase, by reader@9.2-1
new        etc/new.ini, by reader@9.2-1
replaced   etc/reader.conf, by reader@9.2-1, reader@9.3-1
removed    opt/old with 12 files of reader, by reader@9.2-1
replaced   opt/reader/bin of reader, by reader@9.2-1, reader@9.3-1
new        opt/reader/link, by reader@9.2-1
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := i.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var o map[string]any
	if err := json.Unmarshal(b.Bytes(), &o); err != nil {
		t.Fatal(err)
	}
	if o["type"] != "impact" || o["schema"] != 1.0 || len(o["files"].([]any)) != 6 {
		t.Errorf("JSON %s", b.String())
	}
	b.Reset()
	if err := (&Impact{}).WriteJSON(&b); err != nil || strings.Contains(b.String(), "null") {
		t.Errorf("JSON of nothing: %s, %v, want empty lists", b.String(), err)
	}
}
