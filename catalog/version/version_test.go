package version

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// orders are versions of each scheme from the oldest to the newest; those
// between blanks in one line are equal.
var orders = map[string][]string{
	"deb": {
		"0~~", "0~~a", "0~", "0 0-0 00 0:0", "0a", "0.0~1", "0.0 0.00-00", "0.1~rc1-1", "0.1-1~bpo12+1", "0.1-1 0.01-01", "0.1-1+b1",
		"0.1-1+deb13u1", "0.1-1.1", "0.1-2", "0.1a-1", "0.1+dfsg-1", "0.9", "0.10", "1.0", "1.0-0a", "1.0a", "1.0+", "1.99999999999999999999",
		"1.100000000000000000000 1.0100000000000000000000", "2.06-13+deb12u1", "2.06-13+deb12u2", "1:0", "2:0:1-1", "10:0", "2147483647:0",
	},
	"rpm": {
		"0", "0.9", "1.0~~", "1.0~rc1-1", "1.0~rc1^git1-1", "1.0 0:1.0 1.00 1_0 1+0", "1.0-~1", "1.0-0", "1.0-1", "1.0-1.el9", "1.0-2", "1.0^", "1.0^git1", "1.0^git2-1",
		"1.0.a", "1.0.1", "1.10", "1.99999999999999999999", "1.100000000000000000000", "1:0", "4294967295:0",
	},
	"semver": {
		"0.0.0 v0.0.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1",
		"1.0.0 v1.0.0 1.0.0+build.7", "2.0.0", "2.1.0", "2.1.1", "2.1.99999999999999999999", "2.1.100000000000000000000",
	},
	"dotted":  {"0 0.0 00", "0.1", "1 1.0 1.0.0.0.0 01", "1.2", "1.10", "1.10.1", "99999999999999999999", "100000000000000000000"},
	"windows": {"0", "9.1 9.1.0.0", "9.2", "9.3.0.148", "10.0.19041", "10.0.19045 10.0.19045.0", "10.0.65535.65535"},
	"date": {
		"1999", "2026 2026.0", "2026.1", "2026.1.1", "2026-01 202601", "2026-01.7 202601.7.0", "2026-01-31 20260131", "2026-02", "2026-02-28.2", "2026-02-28.10",
		"2028-02-29",
	},
}

func TestOrder(t *testing.T) {
	for scheme, groups := range orders {
		for i, group := range groups {
			for j, other := range groups {
				for _, a := range strings.Fields(group) {
					for _, b := range strings.Fields(other) {
						got, err := parse(t, scheme, a).Compare(parse(t, scheme, b))
						if want := min(1, max(-1, i-j)); got != want || err != nil {
							t.Errorf("%s: %s against %s = %d, %v, want %d", scheme, a, b, got, err, want)
						}
						if Same(scheme, a, b) != (i == j) {
							t.Errorf("%s: Same of %s and %s = %v, want %v", scheme, a, b, i != j, i == j)
						}
					}
				}
			}
		}
	}
	if len(orders) != len(Schemes()) {
		t.Errorf("%d schemes are tested, there are %v", len(orders), Schemes())
	}
}

// What is no version of a scheme has no order there.
func TestSameTexts(t *testing.T) {
	for _, tt := range []struct {
		scheme, a, b string
		want         bool
	}{
		{"dotted", "", "", true}, {"dotted", "", "0", false}, {"dotted", "x", "x", true}, {"dotted", "1.", "1", false},
		{"", "1", "1.0", false}, {"", "1", "1", true},
	} {
		if got := Same(tt.scheme, tt.a, tt.b); got != tt.want {
			t.Errorf("%q: Same of %q and %q = %v, want %v", tt.scheme, tt.a, tt.b, got, tt.want)
		}
	}
}

func TestParseRejects(t *testing.T) {
	everywhere := []string{"", " ", "1 ", " 1", "1\n", "1\x00", "é1", "1\x7f", strings.Repeat("1", 257)}
	tests := map[string][]string{
		"deb":     {"-1", "a1", "1-", ":1", "1:", "x:1", "2147483648:1", "-1:1", "+1:1", "1_0", "1/0", "1-1_1", "~1", "1:-1", "1--"},
		"rpm":     {"-1", "1-", "1--1", "1-1-1", ":1", "1:", "4294967296:1", "-1:1", "x:1", "1:2:3", "1/0", "1%1", "1-1:1"},
		"semver":  {"1", "1.2", "v", "1.2.3.4", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3+", "1.2.3-a..b", "V1.2.3", "vv1.2.3", "1.2.-3", "1.2-a.3", "v1.2+3.4.5"},
		"dotted":  {".", "1.", ".1", "1..2", "1a", "1-1", "+1", "v1"},
		"windows": {".", "1.", "1.2.3.4.5", "65536", "1.2.3.65536", "99999999999999999999", "1a"},
		"date": {
			"202", "20261", "2026-1", "2026-13", "2026-00", "2026-02-30", "2026-0201", "202602-01", "20260230", "2026-01-01-1", "2026.", "2026.a",
			"2026-", "2026-01-", "02026", "2026/01", "2026-01-1.", "0000-00-00",
		},
	}
	for _, scheme := range Schemes() {
		for _, text := range append(everywhere, tests[scheme]...) {
			if v, err := Parse(scheme, text); !errors.Is(err, ErrMalformed) {
				t.Errorf("Parse(%s, %q) = %v, %v, want ErrMalformed", scheme, text, v, err)
			}
		}
	}
}

func TestSchemes(t *testing.T) {
	if got, want := Schemes(), []string{"deb", "rpm", "semver", "dotted", "windows", "date"}; !slices.Equal(got, want) {
		t.Errorf("Schemes() = %v, want %v", got, want)
	}
	if _, err := Parse("pep440", "1"); !errors.Is(err, ErrScheme) {
		t.Errorf("Parse of an unknown scheme: %v, want ErrScheme", err)
	}
	if _, err := ParseRange("", ""); !errors.Is(err, ErrScheme) {
		t.Errorf("ParseRange of no scheme: %v, want ErrScheme", err)
	}
	if c, err := parse(t, "deb", "1").Compare(parse(t, "rpm", "1")); !errors.Is(err, ErrScheme) {
		t.Errorf("comparing a version of deb with one of rpm = %d, %v, want ErrScheme", c, err)
	}
	if c, err := (Version{}).Compare(Version{}); !errors.Is(err, ErrScheme) {
		t.Errorf("comparing zero values = %d, %v, want ErrScheme", c, err)
	}
}

// parse is Parse of a version that is right.
func parse(t testing.TB, scheme, text string) Version {
	t.Helper()
	v, err := Parse(scheme, text)
	if err != nil {
		t.Fatal(err)
	}
	if v.String() != text || v.Scheme() != scheme {
		t.Fatalf("%s %q is read as %s %q", scheme, text, v.Scheme(), v)
	}
	return v
}
