package bake

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipcast/catalog/apply"
	"slipcast/catalog/bundle"
	"slipcast/image"
	"slipcast/internal/lab"
)

// recipeText begins bundle.yaml of a test's bundle; more follows.
const recipeText = `schema: 1
name: greeting
version: 1.2.0
scheme: semver
release: 1
title: A greeting
family: linux
kind: config
params:
  word: {title: what it says, default: hello}
`

// overlayText is the rest of one that lays all that is in files.
const overlayText = `payload:
  - overlay:
      from: files
      to: /
      expand: [etc/greeting.conf]
      delete: [/etc/hostname]
`

// buildBundle builds a bundle of bundle.yaml and files, and returns it open.
func buildBundle(t testing.TB, yaml string, files map[string]string) *os.File {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("bundle.yaml", yaml)
	for name, text := range files {
		write(name, text)
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "bundle.slb"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := bundle.Build(t.Context(), dir, f, bundle.BuildOptions{}); err != nil {
		t.Fatal(err)
	}
	return f
}

// greeting is a bundle that does a bit of everything that an overlay can.
func greeting(t testing.TB) *os.File {
	return buildBundle(t, recipeText+overlayText, map[string]string{
		"files/etc/greeting.conf": "word={{word}}\n", "files/opt/greeting/noise": string(noise(2<<20, 4)), "files/opt/greeting/a/b/c": "deep",
	})
}

// A baked image has what its bundles bring and a receipt of each, a file system that is
// whole, its parent and its recipe; the parent's frames are in it unless their chunks
// changed.
func TestRootBake(t *testing.T) {
	lab.Root(t)
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			lab.Tools(t, k.mkfs[0], k.check[0])
			parent := capture(t, makeRoot(t, k, 20<<20))
			when := time.Unix(1_700_000_000, 0)
			steps := []Step{{File: greeting(t), Params: map[string]string{"word": "good morning"}}}
			var out bytes.Buffer
			b, err := Bake(t.Context(), &out, parent, steps, Options{Copy: CopyOptions{Scratch: t.TempDir()}, Time: when, By: "slipcast test"})
			if err != nil {
				t.Fatal(err)
			}
			child := open(t, out.Bytes())
			if child.Origin.Parent != parent.Digest.String() || RecipeOf(child.Origin) != b.Digest || !child.Origin.Time.Equal(when) {
				t.Errorf("origin %+v, recipe %s", child.Origin, b.Digest)
			}
			if len(b.Receipts) != 1 || b.Receipts[0].Version != "1.2.0" || b.Manifest.Digest != child.Digest {
				t.Errorf("%+v", b.Receipts)
			}
			checkFrames(t, b, child, parent)
			checkBaked(t, k, child, when)
			if left := leftOver(t); len(left) > 0 {
				t.Errorf("left over: %q", left)
			}
		})
	}
}

// checkFrames makes sure that a child costs little: at most a tenth more chunks are
// compressed than the parent does not have, and few bytes were written.
func checkFrames(t *testing.T, b *Baked, child, parent *image.Image) {
	t.Helper()
	packed := b.Stats.Chunks - b.Stats.Reused - b.Stats.Zero
	fresh, _ := freshChunks(child, parent)
	if fresh < 2 || fresh > b.Stats.Chunks*3/4 || packed*10 > fresh*11 {
		t.Errorf("of %d chunks, %d are new and %d were compressed; %d of the parent's were reused", b.Stats.Chunks, fresh, packed, b.Stats.Reused)
	}
	if b.Written < 2<<20 || b.Written > parent.Manifest.Size/4 {
		t.Errorf("%d bytes were written", b.Written)
	}
}

// checkBaked looks at the tree in a baked image.
func checkBaked(t *testing.T, k kind, child *image.Image, when time.Time) {
	t.Helper()
	disk := unpack(t, child)
	lab.Run(t, k.check[0], append(k.check[1:], disk)...)
	dir := lab.Mount(t, disk, "-o", "loop,ro")
	defer lab.Unmount(t, dir)
	for name, want := range map[string]string{
		"etc/greeting.conf": "word=good morning\n", "opt/greeting/noise": string(noise(2<<20, 4)), "opt/greeting/a/b/c": "deep",
	} {
		path := filepath.Join(dir, name)
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
		if info, err := os.Stat(path); err != nil || !info.ModTime().Equal(when) {
			t.Errorf("%s: last changed at %v, want %v", name, info.ModTime(), when)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "etc/hostname")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("etc/hostname: %v, want it gone", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "var/lib/slipcast/receipts/greeting.json"))
	var r apply.Receipt
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || r.Version != "1.2.0" || r.By != "slipcast test" || !r.Time.Equal(when) {
		t.Errorf("receipt %+v, %v", r, err)
	}
}

// A bake is all or nothing: if a bundle cannot be applied there is no child,
// and the error is the one of package apply.
func TestRootBakeFails(t *testing.T) {
	lab.Root(t)
	k := kinds()[0]
	lab.Tools(t, k.mkfs[0])
	parent := capture(t, makeRoot(t, k, 1<<20))
	undetected := recipeText + "detect: {present: 'exists(\"/nowhere\")'}\n" + overlayText
	files := map[string]string{"files/etc/greeting.conf": "x"}
	damaged := greeting(t)
	flip(t, damaged)
	for _, tt := range []struct {
		name  string
		steps []Step
		want  error
		text  string
	}{
		{"none", nil, nil, "no bundles"},
		{"not found afterwards", []Step{{File: greeting(t)}, {File: buildBundle(t, strings.Replace(undetected, "name: greeting", "name: other", 1), files)}}, nil, "other@1.2.0-1"},
		{"damaged", []Step{{File: damaged}}, bundle.ErrDamaged, "damaged"},
		{"a parameter that it has not", []Step{{File: greeting(t), Params: map[string]string{"wrod": "x"}}}, nil, "wrod"},
		{"machine-specific", []Step{{File: buildBundle(t, strings.Replace(recipeText, "default: hello", "machine: name", 1)+overlayText, files)}}, ErrMachine, "greeting@1.2.0-1"},
	} {
		var out bytes.Buffer
		scratch := t.TempDir()
		_, err := Bake(t.Context(), &out, parent, tt.steps, Options{Copy: CopyOptions{Scratch: scratch}})
		if err == nil || !strings.Contains(err.Error(), tt.text) || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if out.Len() > 0 {
			t.Errorf("%s: %d bytes of a child were written", tt.name, out.Len())
		}
		if list, _ := os.ReadDir(scratch); len(list) > 0 {
			t.Errorf("%s: %v is left over", tt.name, list)
		}
	}
	if left := leftOver(t); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// flip damages the contents of a bundle, behind its manifest.
func flip(t testing.TB, f *os.File) {
	t.Helper()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	at := info.Size() / 2
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// results returns the results of a report by their checks, and the detail of the last.
func results(r *Report) (list []Result, last string) {
	for _, c := range r.Checks {
		list, last = append(list, c.Result), c.Detail
	}
	return list, last
}

// A test tells what a bundle does wrong, and passes one that does nothing wrong.
func TestRootTest(t *testing.T) {
	lab.Root(t)
	k := kinds()[0]
	lab.Tools(t, k.mkfs[0])
	parent := capture(t, makeRoot(t, k, 1<<20))
	files := map[string]string{"files/etc/greeting.conf": "word={{word}}\n"}
	for _, tt := range []struct {
		name   string
		file   *os.File
		checks int // that are made
		passed bool
		last   string // of the details
	}{
		{"right", greeting(t), 6, true, "paths"},
		{"for another system", buildBundle(t, recipeText+"applies: distro() == \"arch\"\n"+overlayText, files), 1, false, ""},
		{"not found afterwards", buildBundle(t, recipeText+"detect: {present: 'exists(\"/nowhere\")'}\n"+overlayText, files), 2, false, "greeting"},
		{"not undone", buildBundle(t, recipeText+"rollback: reimage\n"+overlayText, files), 6, true, "not undone"},
	} {
		r, err := Test(t.Context(), tt.file, parent, TestOptions{Copy: CopyOptions{Scratch: t.TempDir()}})
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		list, last := results(r)
		if len(list) != tt.checks || r.Passed() != tt.passed || !strings.Contains(last, tt.last) {
			t.Errorf("%s: got %v (passed %v), last %q; want %d checks, passed %v, %q", tt.name, list, r.Passed(), last, tt.checks, tt.passed, tt.last)
		}
	}
	damaged := greeting(t)
	flip(t, damaged)
	if _, err := Test(t.Context(), damaged, parent, TestOptions{}); !errors.Is(err, bundle.ErrDamaged) {
		t.Errorf("damaged: got %v", err)
	}
}
