package version

import (
	"errors"
	"strings"
	"testing"
)

func TestRange(t *testing.T) {
	tests := []struct {
		scheme, bounds  string
		inside, outside string // between blanks
	}{
		{"dotted", "", "0 1 99", ""},
		{"dotted", "   ", "0 1 99", ""},
		{"dotted", ">=9.2 <9.3", "9.2 9.2.0 9.2.9", "9.1 9.3 9.3.0 10"},
		{"dotted", "  >=  9.2   <9.3 ", "9.2", "9.3"},
		{"dotted", "=9", "9 9.0 09.0.0", "9.1 8"},
		{"dotted", "!=9 !=10", "8 9.1 11", "9 9.0 10.0"},
		{"dotted", "<=9 >9", "", "8 9 10"},
		{"semver", ">9.2.0", "9.3.0-rc1 9.3.0", "9.2.0 9.2.0-rc1"}, // a pre-release is a version like any other
		{"deb", ">=1:2.0~", "1:2.0~rc1 1:2.0-1 2:0", "2.1 1:1.9"},
		{"rpm", "<1.0-3.el9", "1.0 1.0-2.el9 1.0~rc1-9", "1.0-3.el9 1.0-3.el9_1"},
		{"windows", ">=10.0.19041", "10.0.19045.3 11", "10.0.17763"},
		{"date", ">=2026-03 <2026-04", "2026-03-01 20260331.7 2026-03", "2026 2026-04 2026.9"},
	}
	for _, tt := range tests {
		r, err := ParseRange(tt.scheme, tt.bounds)
		if err != nil {
			t.Errorf("ParseRange(%s, %q): %v", tt.scheme, tt.bounds, err)
			continue
		}
		for _, v := range strings.Fields(tt.inside) {
			if has, err := r.Has(parse(t, tt.scheme, v)); !has || err != nil {
				t.Errorf("%s: %s in %q = %v, %v, want true", tt.scheme, v, tt.bounds, has, err)
			}
		}
		for _, v := range strings.Fields(tt.outside) {
			if has, err := r.Has(parse(t, tt.scheme, v)); has || err != nil {
				t.Errorf("%s: %s in %q = %v, %v, want false", tt.scheme, v, tt.bounds, has, err)
			}
		}
	}
}

func TestParseRangeRejects(t *testing.T) {
	for _, bounds := range []string{
		"9", ">", ">= ", "=>9", "==9", "<>9", "~9", ">=9,<10", ">=9 10", ">=9 < <10", ">=x", ">=9\t<10", "^1", ">=9 ||", strings.Repeat("<1 ", 2000),
	} {
		if r, err := ParseRange("dotted", bounds); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseRange(%.40q) = %v, %v, want ErrMalformed", bounds, r, err)
		}
	}
	r, err := ParseRange("dotted", ">=1")
	if err != nil {
		t.Fatal(err)
	}
	if has, err := r.Has(parse(t, "deb", "1")); !errors.Is(err, ErrScheme) {
		t.Errorf("a version of deb in a range of dotted = %v, %v, want ErrScheme", has, err)
	}
}

// FuzzRange holds a range to be read back as it is written, and to have what
// its comparisons say one by one.
func FuzzRange(f *testing.F) {
	f.Add("dotted", ">=9.2 <9.3", "9.2.1")
	f.Add("deb", "!=1:2.0~rc1-1 > 1", "1:2.0-1")
	f.Add("date", "=2026-01", "202601")
	f.Fuzz(func(t *testing.T, scheme, bounds, text string) {
		r, err := ParseRange(scheme, bounds)
		if err != nil {
			return
		}
		again, err := ParseRange(scheme, r.String())
		if err != nil || again.String() != r.String() || again.Scheme() != scheme {
			t.Fatalf("%q is written as %q and read back as %q, %v", bounds, r, again, err)
		}
		v, err := Parse(scheme, text)
		if err != nil {
			return
		}
		has, err := r.Has(v)
		want := true
		for _, b := range r.bounds {
			c, _ := v.Compare(b.version)
			want = want && map[string]bool{"<": c < 0, "<=": c < 1, "=": c == 0, ">=": c > -1, ">": c > 0, "!=": c != 0}[b.operator]
		}
		if has != want || err != nil {
			t.Errorf("%q in %q = %v, %v, want %v", text, bounds, has, err, want)
		}
	})
}
