package plan

import (
	"errors"
	"strings"
	"testing"
)

// reader is the example of the documentation: 9.2 updates 9.0 and 9.1, 9.3
// updates 9.2 alone.
const reader = `
	reader@9.0-1 fresh
	reader@9.1-1 onto:>=9.0,<9.1
	reader@9.2-1 onto:>=9.0,<9.2
	reader@9.3-1 onto:>=9.2,<9.3 needs:vcredist>=14
	reader@9.3.3-1 onto:>=9.3 critical
	vcredist@13-1
	vcredist@14-1`

func TestResolve(t *testing.T) {
	tests := []struct {
		name, bundles string
		there         []string
		opt           Options
		want          string
	}{
		{"nothing to do", reader, []string{"reader 9.3.3", "vcredist 14"}, Options{}, ""},
		{"a chain with what it needs", reader, []string{"reader 9.0"}, Options{}, "reader@9.2 vcredist@14 reader@9.3 reader@9.3.3"},
		{"from nothing", reader, nil, Options{}, "reader@9.0 reader@9.2 vcredist@14 reader@9.3 reader@9.3.3"},
		{"the newest is there", reader, []string{"reader 9.4", "vcredist 15"}, Options{}, ""},
		{"no way, but the rest stands", reader, []string{"reader 8.1"}, Options{}, "vcredist@14"},
		{"one product", reader, []string{"reader 9.2"}, Options{Goals: []string{"vcredist"}}, "vcredist@14"},
		{"one version", reader, []string{"reader 9.0"}, Options{Goals: []string{"reader@9.2"}}, "reader@9.2"},
		{"a lower version", reader, []string{"reader 9.3"}, Options{Goals: []string{"reader@9.2"}}, ""},
		{"tracks stand side by side", `
			browser@130-1
			browser/esr@115-1
			browser/esr@128-1`, []string{"browser/esr 115"}, Options{}, "browser@130 browser/esr@128"},
		{"as far as possible", `
			x@1-1
			x@2-1
			x@3-1 needs:y`, []string{"x 1"}, Options{}, "x@2"},
		{"fewest steps", `
			x@1-1
			x@2-1 onto:=1
			x@3-1 onto:=2
			x@4-1 onto:=3 onto:=2`, []string{"x 1"}, Options{}, "x@2 x@4"},
		{"fewest restarts", `
			x@1-1
			x@2-1 onto:=1
			x@3-1 onto:=1 between
			x@4-1 onto:=2 onto:=3`, []string{"x 1"}, Options{}, "x@2 x@4"},
		{"no reboot rather than one at the end", `
			x@1-1
			x@2-1 onto:=1
			x@3-1 onto:=1 required
			x@4-1 onto:=2 onto:=3`, []string{"x 1"}, Options{}, "x@2 x@4"},
		{"highest versions", `
			x@1-1
			x@2-1 onto:=1
			x@3-1 onto:=1
			x@4-1 onto:=2 onto:=3`, []string{"x 1"}, Options{}, "x@3 x@4"},
		{"severity, then product", `
			a@1-1 low
			b@1-1 critical
			c@1-1
			d@1-1 moderate
			e@1-1 important`, nil, Options{}, "b@1 e@1 d@1 a@1 c@1"},
		{"what is required is as severe", `
			a@1-1 important
			b@1-1 critical needs:z
			z@1-1 low`, nil, Options{}, "z@1 b@1 a@1"},
		{"a requirement in the middle of a chain", `
			lib@1-1
			lib@2-1 onto:=1
			x@1-1 needs:lib<2
			x@2-1 onto:=1 needs:lib>=2`, nil, Options{}, "lib@1 x@1 lib@2 x@2"},
		{"restarts divide", `
			a@1-1 between
			b@1-1
			c@1-1 needs:a required`, nil, Options{}, "b@1 a@1 | c@1"},
		{"what is recalled is passed over", `
			x@1-1
			x@2-1 recalled`, nil, Options{}, "x@1"},
		{"a chain through what is recalled ends", `
			x@1-1
			x@2-1 onto:=1 recalled
			x@3-1 onto:=2`, []string{"x 1"}, Options{}, ""},
		{"never a downgrade", `
			x@1-1
			x@2-1 recalled`, []string{"x 2"}, Options{}, ""},
		{"but if it is allowed", `
			x@1-1
			x@2-1 recalled`, []string{"x 2"}, Options{Downgrade: true}, "x@1"},
		{"no downgrade of what is not recalled", `
			x@1-1
			x@2-1`, []string{"x 3"}, Options{Downgrade: true}, ""},
		{"a recalled one that has a successor", `
			x@1-1
			x@2-1 recalled
			x@3-1`, []string{"x 2"}, Options{}, "x@3"},
		{"another product takes the place", `
			old@1-1
			old@2-1
			new@1-1 over:old`, []string{"old 1"}, Options{}, "new@1"},
		{"what does not apply takes no place", `
			old@2-1
			new@1-1 over:old if:arch()=="arm64"`, []string{"old 1"}, Options{}, "old@2"},
		{"a circle of successors is none", `
			a@1-1 over:b
			b@1-1 over:a`, nil, Options{}, "a@1 b@1"},
		{"successors of successors", `
			a@1-1
			b@1-1 over:a
			c@1-1 over:b`, nil, Options{}, "c@1"},
		{"conflict with what is there", `
			lite@1-1
			reader@9-1 against:lite`, []string{"lite 1"}, Options{}, ""},
		{"conflict of two: the severer comes", `
			a@1-1
			b@1-1 critical against:a`, nil, Options{}, "b@1"},
		{"conflict that a newer version ends", `
			lite@1-1
			lite@2-1
			reader@9-1 critical against:lite<2`, []string{"lite 1"}, Options{}, "lite@2 reader@9"},
		{"a circle", `
			a@1-1 needs:b
			b@1-1 needs:a
			c@1-1 needs:a
			d@1-1`, nil, Options{}, "d@1"},
		{"a circle that an older version opens", `
			a@1-1
			a@2-1 needs:b
			b@1-1 needs:a
			b@2-1 needs:a>=2`, nil, Options{}, "a@1 b@1 a@2 b@2"},
		{"held back by what is there", `
			plugin@2-1 needs:reader<10
			reader@9-1
			reader@9.5-1
			reader@10-1`, []string{"reader 9", "plugin 2"}, Options{}, "reader@9.5"},
		{"both move together", `
			plugin@2-1 needs:reader<10
			plugin@3-1 needs:reader>=10
			reader@9-1
			reader@9.5-1
			reader@10-1`, []string{"reader 9", "plugin 2"}, Options{}, "reader@10 plugin@3"},
		{"a collection", `
			room@1-1 collection needs:a needs:b>=2
			a@1-1
			b@1-1
			b@2-1`, []string{"b 1"}, Options{Goals: []string{"room"}}, "a@1 b@2"},
		{"a collection that is complete", `
			room@1-1 collection needs:a
			a@1-1`, []string{"a 1"}, Options{Goals: []string{"room"}}, ""},
		{"what needs a collection waits for it", `
			room@1-1 collection needs:z
			x@1-1 critical needs:room
			z@1-1`, nil, Options{}, "z@1 x@1"},
		{"other systems", `
			x@1-1 windows
			y@1-1`, nil, Options{}, "y@1"},
		{"an unknown product", `
			x@1-1
			y@1-1 needs:x
			z@1-1`, []string{"x !"}, Options{}, "z@1"},
		{"an unknown condition", `
			x@1-1
			x@2-1 if:dmi("vendor")=="Dell"`, nil, Options{}, "x@1"},
		{"specific to the machine", `x@1-1 machine if:dmi("vendor")=="Dell"`, nil, Options{}, ""},
		{"a condition about a product", `
			addon@1-1 if:product("reader")!=""
			reader@9-1`, []string{"reader 9"}, Options{}, "addon@1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := resolve(t, some(tt.bundles), have(tt.there...), tt.opt)
			if got := steps(p); got != tt.want {
				t.Errorf("steps %q, want %q", got, tt.want)
				for _, c := range p.Cells {
					t.Logf("%s: %s: %s", c.Bundle, c.State, c.Reason)
				}
			}
		})
	}
}

// A version may look like the release of another one: the release is meant, if
// there is such a bundle.
func TestGoalLikeARelease(t *testing.T) {
	for bundles, want := range map[string]string{
		"x@0-1\nx@1-2\nx@1-2-1": "x@1-2",
		"x@0-1\nx@1-1\nx@1-2-1": "x@1-2-1",
	} {
		list := some(bundles)
		for i := range list {
			list[i].Scheme = "deb"
		}
		p := resolve(t, list, have("x 0"), Options{Goals: []string{"x@1-2"}})
		if len(p.Steps) != 1 || p.Steps[0].Bundle != want {
			t.Errorf("the goal x@1-2 of %q gives %+v, want %s alone", bundles, p.Steps, want)
		}
	}
}

// Every reason is one that a technician can act on.
func TestReasons(t *testing.T) {
	tests := []struct {
		name, bundles string
		there         []string
		opt           Options
		bundle        string
		state         State
		reason        string
	}{
		{"a step on the way", reader, []string{"reader 9.0"}, Options{}, "reader@9.2-1", Missing,
			"9.0 is there; it is step 1 of 4: reader 9.3 goes onto >=9.2 <9.3: 9.2 comes first"},
		{"a requirement", reader, []string{"reader 9.0"}, Options{}, "vcredist@14-1", Missing,
			"it is not there; it is step 2 of 4: reader 9.3 needs vcredist >=14"},
		{"not needed", reader, []string{"reader 9.0"}, Options{}, "reader@9.1-1", Superseded, "9.3.3, which the plan brings, takes its place"},
		{"older", reader, []string{"reader 9.2"}, Options{}, "reader@9.0-1", Superseded, "9.0 is older than 9.2, which is there"},
		{"there", reader, []string{"reader 9.2"}, Options{}, "reader@9.2-1", Installed, "it is there"},
		{"no way", reader, []string{"reader 8.1"}, Options{}, "reader@9.3-1", Missing,
			"8.1 is there: no way from 8.1 to reader 9.3: 9.3 goes onto >=9.2 <9.3; 9.2 goes onto >=9.0 <9.2; 9.1 goes onto >=9.0 <9.1; 9.0 goes onto nothing, and the catalog has nothing between"},
		{"a product that there is not", `x@1-1 needs:y>=2`, nil, Options{}, "x@1-1", Missing,
			"it is not there: x 1 needs y >=2, but no bundle of the catalog is of that product"},
		{"too low", `
			x@1-1 needs:y>=2
			y@1-1`, nil, Options{}, "x@1-1", Missing, "it is not there: x 1 needs y >=2, but the highest of the catalog is 1"},
		{"a chain of requirements", `
			x@1-1 needs:y
			y@1-1 needs:z
			z@1-1 recalled`, nil, Options{}, "x@1-1", Missing,
			"it is not there: x 1 needs y, but y 1 needs z, but of z 1: it is recalled: it breaks printing"},
		{"too high", `
			x@1-1 needs:y<2
			y@1-1`, []string{"y 3"}, Options{}, "x@1-1", Missing,
			"it is not there: x 1 needs y <2, but y 3 is there, and nothing goes back to a lower version"},
		{"a circle", `
			x@1-1 needs:y
			y@1-1 needs:x`, nil, Options{}, "x@1-1", Missing,
			"it is not there: x 1 needs y, but y 1 needs x, but these need each other in a circle"},
		{"recalled", `x@1-1 recalled`, nil, Options{}, "x@1-1", Recalled, "it breaks printing"},
		{"recalled and there", `x@1-1 recalled`, []string{"x 1"}, Options{}, "x@1-1", Recalled, "it is there, and is recalled: it breaks printing"},
		{"not for this root", `x@1-1 if:arch()=="arm64"`, nil, Options{}, "x@1-1", NotApplicable, `its condition says no: arch() = "x64"`},
		{"for another family", `x@1-1 windows`, nil, Options{}, "x@1-1", NotApplicable, "it is for windows, and this is linux"},
		{"for a machine", `x@1-1 machine if:dmi("vendor")=="Dell"`, nil, Options{}, "x@1-1", NotApplicable,
			"it asks for the machine, so it is applied after restore and to nothing else"},
		{"no answer", `x@1-1 if:dmi("vendor")=="Dell"`, nil, Options{}, "x@1-1", Unknown,
			`its condition has no answer: dmi("vendor"): there is no machine to ask`},
		{"no detection", `x@1-1`, []string{"x !"}, Options{}, "x@1-1", Unknown, `pkg("x"): the disk cannot be read`},
		{"no version", `x@1-1`, []string{"x one"}, Options{}, "x@1-1", Unknown,
			`detection finds what is no version: malformed version: "one" as dotted: is not numbers between dots`},
		{"unknown requirement", `
			x@1-1 needs:y
			y@1-1`, []string{"y !"}, Options{}, "x@1-1", Missing,
			`it is not there: x 1 needs y, but which version of y is there is unknown: pkg("y"): the disk cannot be read`},
		{"conflict with what is there", `
			lite@1-1
			reader@9-1 against:lite`, []string{"lite 1"}, Options{}, "reader@9-1", Missing,
			"it is not there: reader 9 conflicts with lite, and lite 1 is there"},
		{"conflict with what comes", `
			a@1-1
			b@1-1 critical against:a`, nil, Options{}, "a@1-1", Missing, "it is not there: b 1 conflicts with a, and the plan brings b 1"},
		{"held back", `
			plugin@2-1 needs:reader<10
			reader@9-1
			reader@10-1`, []string{"reader 9", "plugin 2"}, Options{}, "reader@10-1", Missing,
			"9 is there: plugin 2 needs reader <10, and plugin 2 is there"},
		{"superseded", `
			old@1-1
			new@1-1 over:old`, nil, Options{}, "old@1-1", Superseded, "new 1 takes its place"},
		{"no goal", reader, nil, Options{Goals: []string{"vcredist"}}, "reader@9.0-1", Missing, "it is not there, and this is no goal of the plan"},
		{"a condition that the plan changes", `
			addon@1-1 if:product("reader")!=""
			reader@9-1`, nil, Options{}, "addon@1-1", NotApplicable,
			`its condition says no: product("reader") = ""; the plan brings reader 9, so look again after it`},
		{"a faulty bundle", `x@1-1 onto:>=one`, nil, Options{}, "x@1-1", Unknown,
			`the bundle itself is faulty: upgrades_from: range ">=one": malformed version: "one" as dotted: is not numbers between dots`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := cellOf(t, resolve(t, some(tt.bundles), have(tt.there...), tt.opt), tt.bundle)
			if c.State != tt.state || c.Reason != tt.reason {
				t.Errorf("%s: %s\n%s\nwant %s\n%s", c.Bundle, c.State, c.Reason, tt.state, tt.reason)
			}
		})
	}
}

func TestProducts(t *testing.T) {
	tests := []struct {
		name, bundles string
		there         []string
		opt           Options
		product       string
		state         State
		reason        string
	}{
		{"planned", reader, []string{"reader 9.0"}, Options{}, "reader", Missing, "9.0 is there, and 9.3.3 comes with step 4"},
		{"done", reader, []string{"reader 9.3.3"}, Options{}, "reader", Installed, "9.3.3 is there, the highest that applies"},
		{"newer", reader, []string{"reader 10"}, Options{}, "reader", Installed, "10 is there, newer than 9.3.3, the highest that applies"},
		{"as far as possible", `
			x@2-1
			x@3-1 needs:y`, []string{"x 1"}, Options{}, "x", Missing,
			"1 is there: x 3 needs y, but no bundle of the catalog is of that product; as far as possible: 2 comes with step 1"},
		{"recalled", `
			x@1-1
			x@2-1 recalled`, []string{"x 2"}, Options{}, "x", Recalled,
			"2 is there, and is recalled: it breaks printing; 1 is older, and only a plan that allows downgrades takes it"},
		{"recalled, with a successor", `
			x@2-1 recalled
			x@3-1`, []string{"x 2"}, Options{}, "x", Recalled, "2 is there, and is recalled: it breaks printing; 2 is there, and 3 comes with step 1"},
		{"recalled, and that is all", `x@2-1 recalled`, []string{"x 2"}, Options{}, "x", Recalled,
			"2 is there, and is recalled: it breaks printing; the catalog has no other"},
		{"doubtful", `
			x@1-1
			x@2-1 if:dmi("vendor")=="Dell"`, []string{"x 1"}, Options{}, "x", Unknown,
			`of x 2: whether it applies is unknown: its condition has no answer: dmi("vendor"): there is no machine to ask`},
		{"superseded", `
			old@1-1
			new@1-1 over:old`, []string{"old 1"}, Options{}, "old", Superseded, "1 is there, and new 1 takes its place"},
		{"superseded and away", `
			old@1-1
			new@1-1 over:old`, nil, Options{}, "old", NotApplicable, "new 1 takes the place of 1"},
		{"not applicable", `x@1-1 if:arch()=="arm64"`, nil, Options{}, "x", NotApplicable,
			`of 1: it does not apply: its condition says no: arch() = "x64"`},
		{"a collection", `
			room@1-1 collection needs:a
			a@1-1`, nil, Options{}, "room", Missing, "the plan brings what it is made of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := productOfPlan(t, resolve(t, some(tt.bundles), have(tt.there...), tt.opt), tt.product)
			if q.State != tt.state || q.Reason != tt.reason {
				t.Errorf("%s: %s\n%s\nwant %s\n%s", q.Name, q.State, q.Reason, tt.state, tt.reason)
			}
		})
	}
}

// Where nobody can give a secret, what wants one is left out, with what needs
// it. All else is as it was.
func TestUnattended(t *testing.T) {
	bundles := some(`
		guard@1-1 critical
		licence@1-1 secret:KEY critical
		suite@1-1 needs:licence
		reader@9-1
		reader@10-1 secret:PIN
		scanner@1-1
		scanner@2-1 onto:<2 secret:PIN
		scanner@3-1 onto:>=2`)
	const why = "which nobody can give here: bake the bundle into the image, or apply it by hand"
	p := resolve(t, bundles, have(), Options{Unattended: true})
	if got := steps(p); got != "guard@1 reader@9 scanner@1" {
		t.Errorf("steps %q", got)
	}
	for product, want := range map[string]string{
		"licence": "it is not there: of licence 1: it wants the secret KEY, " + why,
		"suite":   "it is not there: suite 1 needs licence, but of licence 1: it wants the secret KEY, " + why,
		"reader":  "it is not there: of reader 10: it wants the secret PIN, " + why + "; as far as possible: 9 comes with step 2",
		"scanner": "it is not there: no way from nothing to scanner 3: 3 goes onto >=2; of 2: it wants the secret PIN, " + why + "; as far as possible: 1 comes with step 3",
	} {
		if q := productOfPlan(t, p, product); q.State != Missing || q.Reason != want {
			t.Errorf("%s: %s: %s\nwant %s", product, q.State, q.Reason, want)
		}
	}
	if c := cellOf(t, p, "licence@1-1"); c.State != Missing || !strings.Contains(c.Reason, why) {
		t.Errorf("the cell: %+v", c)
	}
	named := resolve(t, bundles, have(), Options{Unattended: true, Goals: []string{"guard", "suite"}})
	if got := steps(named); got != "guard@1" {
		t.Errorf("named goals: steps %q", got)
	}
	given := map[string]map[string]string{"licence": {"KEY": "x"}}
	if got := steps(resolve(t, bundles, have(), Options{Unattended: true, Params: given})); got != "guard@1 licence@1 reader@9 scanner@1 suite@1" {
		t.Errorf("with the secret of one: steps %q", got)
	}
	if q := productOfPlan(t, resolve(t, bundles, have("licence 1"), Options{Unattended: true}), "suite"); q.After != "1" {
		t.Errorf("with what was baked: %+v", q)
	}
}

func TestResolveRefuses(t *testing.T) {
	c, err := Compile(some(reader))
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Look(t.Context(), have(), LookOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, opt := range []Options{
		{Goals: []string{"writer"}},
		{Goals: []string{"reader@7"}},
		{Params: map[string]map[string]string{"reader": {"SERVER": "x"}}},
		{Params: map[string]map[string]string{"writer": {"SERVER": "x"}}},
	} {
		if _, err := c.Resolve(f, opt); !errors.Is(err, ErrNotFound) {
			t.Errorf("Resolve(%+v) = %v, want ErrNotFound", opt, err)
		}
	}
	if _, err := c.Resolve(f, Options{Goals: []string{"reader", "reader@9.2"}}); err == nil || !strings.Contains(err.Error(), "named twice") {
		t.Errorf("two goals of one product: %v, want an error that says so", err)
	}
}

func TestCompileRefuses(t *testing.T) {
	for _, tt := range []struct{ bundles, want string }{
		{"x@1-1\nx@1-1", "x@1-1 and x@1-1 are one version and release"},
		{"x@1-1\nx@1.0-1", "are one version and release"},
		{"x@one-1", "bundle x@one-1: malformed version"},
	} {
		if _, err := Compile(some(tt.bundles)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Compile(%q) = %v, want an error with %q", tt.bundles, err, tt.want)
		}
	}
	list := some("x@1-1\nx@2-1")
	list[1].Scheme = "deb"
	if _, err := Compile(list); err == nil || !strings.Contains(err.Error(), "scheme") {
		t.Errorf("two schemes in one product: %v, want an error that says so", err)
	}
}
