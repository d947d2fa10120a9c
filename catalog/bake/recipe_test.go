package bake

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"slipcast/catalog/bundle"
	"slipcast/image"
)

// The digest of a recipe is the one of the vector in docs/bundles.md, section 10.3.
func TestRecipeVector(t *testing.T) {
	text, err := os.ReadFile("../../docs/bundles.md")
	if err != nil {
		t.Fatal(err)
	}
	vector := regexp.MustCompile("set to `quiet`: `([0-9a-f]{64})`").FindSubmatch(text)
	if vector == nil {
		t.Fatal("the vector is not in docs/bundles.md")
	}
	r := Recipe{
		Schema: 1, Parent: strings.Repeat("0", 64), Time: 1700000000,
		Bundles: []Ingredient{{Digest: strings.Repeat("1", 64), Params: map[string]string{"mode": "quiet"}}},
	}
	if got, err := r.Digest(); err != nil || got != string(vector[1]) {
		t.Errorf("Digest() = %s, %v, want %s", got, err, vector[1])
	}
}

// A recipe depends on what a bake depends on, and on nothing else.
func TestNewRecipe(t *testing.T) {
	parent := &image.Image{}
	step := func(digest string, params map[string]string) Step {
		m := &bundle.Manifest{Header: bundle.Header{Params: []bundle.Param{{Name: "a", Default: "1"}, {Name: "b"}}}}
		return Step{Params: params, bundle: &bundle.Bundle{Manifest: m, Digest: digest}}
	}
	digest := func(at int64, steps ...Step) string {
		r, err := newRecipe(parent, steps, time.Unix(at, 0))
		if err != nil {
			t.Fatal(err)
		}
		d, err := r.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest(1, step("x", nil), step("y", nil))
	for what, tt := range map[string]struct {
		digest string
		same   bool
	}{
		"the default by name": {digest(1, step("x", map[string]string{"a": "1", "b": ""}), step("y", nil)), true},
		"another value":       {digest(1, step("x", map[string]string{"a": "2"}), step("y", nil)), false},
		"of the other bundle": {digest(1, step("x", nil), step("y", map[string]string{"a": "2"})), false},
		"another order":       {digest(1, step("y", nil), step("x", nil)), false},
		"another time":        {digest(2, step("x", nil), step("y", nil)), false},
		"one bundle less":     {digest(1, step("x", nil)), false},
	} {
		if (tt.digest == first) != tt.same {
			t.Errorf("%s: the same recipe is %v, want %v", what, !tt.same, tt.same)
		}
	}
	machine := step("x", nil)
	machine.bundle.Manifest.Machine = true
	if _, err := newRecipe(parent, []Step{machine}, time.Unix(1, 0)); err == nil || !strings.Contains(err.Error(), "machine-specific") {
		t.Errorf("a machine-specific bundle: got %v", err)
	}
}

func TestRecipeOf(t *testing.T) {
	digest := strings.Repeat("ab", 32)
	for source, want := range map[string]string{
		"baked by recipe " + digest: digest, digest: "", "": "", "baked by recipe ab": "", "baked by recipe " + digest + "ab": "",
		"Samsung SSD 980 S64DNF0R": "",
	} {
		if got := RecipeOf(image.Origin{Source: source}); got != want {
			t.Errorf("RecipeOf(%q) = %q, want %q", source, got, want)
		}
	}
}
