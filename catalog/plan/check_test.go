package plan

import (
	"errors"
	"strings"
	"testing"
)

// check looks at a root and asks whether p may run there.
func check(t *testing.T, bundles []Bundle, r *testRoot, p *Plan, root string) (int, error) {
	t.Helper()
	c, err := Compile(bundles)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Look(t.Context(), r, LookOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Check(p, f, root)
}

func TestCheck(t *testing.T) {
	bundles := some(reader)
	p := resolve(t, bundles, have("reader 9.0"), Options{})
	if got := steps(p); got != "reader@9.2 vcredist@14 reader@9.3 reader@9.3.3" {
		t.Fatalf("steps %q", got)
	}
	for _, tt := range []struct {
		there string
		done  int
	}{
		{"reader 9.0", 0},
		{"reader 9.2", 1},
		{"reader 9.2, vcredist 14", 2},
		{"reader 9.3, vcredist 14", 3},
		{"reader 9.3.3, vcredist 14", 4},
		{"reader 9.0.0.0", 0}, // what detection finds may be written otherwise
		{"reader 9.2.0.0", 1},
		{"reader 9.3.0.0, vcredist 14.0", 3},
	} {
		done, err := check(t, bundles, have(strings.Split(tt.there, ", ")...), p, "")
		if err != nil || done != tt.done {
			t.Errorf("with %s: %d, %v, want %d steps done", tt.there, done, err, tt.done)
		}
	}
	more := append(some("writer@1-1"), bundles...)
	if _, err := check(t, more, have("reader 9.0"), p, ""); err != nil {
		t.Errorf("a catalog with one product more: %v, want no error", err)
	}
}

func TestCheckRefuses(t *testing.T) {
	bundles := some(reader)
	p := resolve(t, bundles, have("reader 9.0"), Options{Root: strings.Repeat("a", 64)})
	without := func(id string) []Bundle {
		var list []Bundle
		for _, b := range bundles {
			if b.ID() != id {
				list = append(list, b)
			}
		}
		return list
	}
	recalled, changed := some(reader), some(reader)
	recalled[3].Recalled = "it breaks printing"
	changed[3].Digest = strings.Repeat("b", 64)
	tests := []struct {
		name    string
		bundles []Bundle
		root    *testRoot
		digest  string
		want    string
	}{
		{"a bundle is gone", without("reader@9.3-1"), have("reader 9.0"), p.Root, "step 3: the catalog has no bundle reader@9.3-1"},
		{"a product is gone", some("vcredist@14-1"), have("reader 9.0"), p.Root, "step 1: the catalog has no bundle reader@9.2-1"},
		{"a bundle is recalled", recalled, have("reader 9.0"), p.Root, "step 3: reader@9.3-1 is recalled: it breaks printing"},
		{"a bundle is another", changed, have("reader 9.0"), p.Root, "step 3: reader@9.3-1 in the catalog has the digest bbbb"},
		{"another version", bundles, have("reader 9.1"), p.Root, "reader is at 9.1 now, and was at 9.0"},
		{"nothing", bundles, have(), p.Root, "reader is at nothing now, and was at 9.0"},
		{"steps out of order", bundles, have("reader 9.0", "vcredist 14"), p.Root, "vcredist is at 14 now, and was at nothing"},
		{"unknown", bundles, have("reader !"), p.Root, "which version of reader is there is known now and was not, or the other way round"},
		{"another image", bundles, have("reader 9.0"), strings.Repeat("c", 64), "its digest is cccc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := check(t, tt.bundles, tt.root, p, tt.digest)
			if !errors.Is(err, ErrStale) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Check = %v, want ErrStale with %q", err, tt.want)
			}
		})
	}
}

// A plan for a machine does not run where there is none.
func TestCheckMachine(t *testing.T) {
	bundles := some("x@1-1")
	p := resolve(t, bundles, have(), Options{}, LookOptions{Machine: true})
	if _, err := check(t, bundles, have(), p, ""); !errors.Is(err, ErrStale) {
		t.Errorf("Check = %v, want ErrStale", err)
	}
}
