package plan

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
)

func TestLook(t *testing.T) {
	yes, no, unknown := condition.Yes, condition.No, condition.Unknown
	tests := []struct {
		name, bundles string
		payloads      map[string]condition.Verdict
		there         []string
		version       string // ? is unknown, empty is none
		release       int
	}{
		{"by version", "x@1-1\nx@2-1", nil, []string{"x 1"}, "1", 0},
		{"a version that the catalog has not", "x@1-1", nil, []string{"x 7"}, "7", 0},
		{"none", "x@1-1", nil, nil, "", 0},
		{"by payload, from the highest down", "x@1-1 bypayload\nx@2-1 bypayload\nx@2-2 bypayload",
			map[string]condition.Verdict{"x@1-1": yes, "x@2-1": yes, "x@2-2": no}, nil, "2", 1},
		{"a payload that cannot be read", "x@1-1 bypayload\nx@2-1 bypayload",
			map[string]condition.Verdict{"x@1-1": yes, "x@2-1": unknown}, nil, "?", 0},
		{"no payload there", "x@1-1 bypayload\nx@2-1 bypayload", nil, nil, "", 0},
		{"the rule of one serves for all", "x@1-1 bypayload\nx@2-1\nx@3-1 bypayload", map[string]condition.Verdict{"x@3-1": yes}, []string{"x 1"}, "1", 0},
		{"a recalled release of that version may be it", "x@2-1 recalled\nx@2-2", nil, []string{"x 2"}, "2", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := have(tt.there...)
			r.payloads = tt.payloads
			q := productOfPlan(t, resolve(t, some(tt.bundles), r, Options{}), "x")
			if q.Unsure {
				q.Version = "?"
			}
			if q.Version != tt.version || q.Release != tt.release {
				t.Errorf("found %q, release %d, want %q, %d", q.Version, q.Release, tt.version, tt.release)
			}
		})
	}
}

// A rule that was recalled with its bundle is not asked if there is another.
func TestLookPassesOverARecalledRule(t *testing.T) {
	list := some("x@1-1\nx@2-1 recalled")
	list[1].Detect.Version = `"2"`
	if q := productOfPlan(t, resolve(t, list, have("x 1"), Options{}), "x"); q.Version != "1" {
		t.Errorf("found %q, want 1, as the rule of x@1-1 says", q.Version)
	}
}

// detect.present asks for one version after the other.
func TestLookPresent(t *testing.T) {
	list := some("x@1-1\nx@2-1")
	for i, when := range []string{`pkg("one") != ""`, `pkg("two") != ""`} {
		list[i].Detect = bundle.Detect{Present: when}
	}
	for _, tt := range []struct{ there, want string }{{"one 1", "1"}, {"two 1", "2"}, {"three 1", ""}, {"two !", "?"}} {
		q := productOfPlan(t, resolve(t, list, have(tt.there), Options{}), "x")
		if q.Unsure {
			q.Version = "?"
		}
		if q.Version != tt.want {
			t.Errorf("with %s: found %q, want %q", tt.there, q.Version, tt.want)
		}
	}
}

// A receipt tells the release, and what it says of another version is not
// believed.
func TestLookReceipts(t *testing.T) {
	list := some("x@2-1\nx@2-2\nx@2-3")
	for _, tt := range []struct {
		receipt string
		release int
		steps   string
	}{
		{"x@2-2", 2, "x@2-3"},
		{"x@2-3", 3, ""},
		{"x@1-1", 0, ""},
		{"nonsense", 0, ""},
		{"", 0, ""},
	} {
		p := resolve(t, list, have("x 2"), Options{}, LookOptions{Receipts: []Receipt{{Product: "x", Bundle: tt.receipt}}})
		if q := productOfPlan(t, p, "x"); q.Release != tt.release || steps(p) != tt.steps {
			t.Errorf("receipt %q: release %d, steps %q, want %d, %q", tt.receipt, q.Release, steps(p), tt.release, tt.steps)
		}
	}
}

// Detection that asks for itself in a circle is unknown, and so is what depends
// on it.
func TestLookCircle(t *testing.T) {
	list := some("x@1-1\ny@1-1\nz@1-1")
	list[0].Detect.Version = `product("y")`
	list[1].Detect.Version = `product("x")`
	p := resolve(t, list, have(), Options{})
	if q := productOfPlan(t, p, "x"); !q.Unsure || !strings.Contains(q.Reason, "in a circle") {
		t.Errorf("x: %+v, want it unknown because of a circle", q)
	}
	if got := steps(p); got != "z@1" {
		t.Errorf("steps %q, want z@1", got)
	}
}

// A probe is asked once for all bundles with one condition.
func TestLookAsksOnce(t *testing.T) {
	var lines []string
	for i := range 100 {
		lines = append(lines, fmt.Sprintf(`p%d@1-1 bypayload if:arch()=="x64"`, i))
	}
	r := have()
	resolve(t, some(strings.Join(lines, "\n")), r, Options{})
	if r.asked != 2 {
		t.Errorf("%d probes, want 2: family and arch", r.asked)
	}
}

func TestLookEnds(t *testing.T) {
	c, err := Compile(some(reader))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := c.Look(ctx, have(), LookOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Look with an ended context: %v, want context.Canceled", err)
	}
}

// A root whose system nobody knows gets nothing.
func TestLookFamily(t *testing.T) {
	c, err := Compile(some("x@1-1"))
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Look(t.Context(), &noFamily{have()}, LookOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Resolve(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if q := p.Products[0]; q.State != Unknown || len(p.Steps) > 0 {
		t.Errorf("%s: %s, %d steps, want unknown, none", q.State, q.Reason, len(p.Steps))
	}
}

type noFamily struct{ *testRoot }

func (r *noFamily) Probe(ctx context.Context, name string, args ...string) (any, error) {
	if name == "family" {
		return nil, errors.New("the disk cannot be read")
	}
	return r.testRoot.Probe(ctx, name, args...)
}
