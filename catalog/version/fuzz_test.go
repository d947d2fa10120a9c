package version

import (
	"strings"
	"testing"
)

// FuzzVersion holds the order of every scheme to be one, and the text of a
// version to be read back as it was.
func FuzzVersion(f *testing.F) {
	for scheme, groups := range orders {
		words := strings.Fields(strings.Join(groups, " "))
		for i, s := range words {
			f.Add(scheme, s, words[(i*7)%len(words)], words[(i*13)%len(words)])
		}
	}
	f.Fuzz(func(t *testing.T, scheme, a, b, c string) {
		x, errX := Parse(scheme, a)
		y, errY := Parse(scheme, b)
		z, errZ := Parse(scheme, c)
		if errX != nil || errY != nil || errZ != nil {
			return
		}
		for _, v := range []Version{x, y, z} {
			if again, err := Parse(scheme, v.String()); err != nil || again != v {
				t.Errorf("%s: %q is read back as %q, %v", scheme, v, again, err)
			}
			if order(t, v, v) != 0 {
				t.Errorf("%s: %q is not equal to itself", scheme, v)
			}
		}
		if order(t, x, y) != -order(t, y, x) {
			t.Errorf("%s: %q against %q = %d, but %d the other way", scheme, a, b, order(t, x, y), order(t, y, x))
		}
		if order(t, x, y) <= 0 && order(t, y, z) <= 0 && order(t, x, z) > 0 {
			t.Errorf("%s: %q <= %q <= %q, but not the first <= the last", scheme, a, b, c)
		}
		if order(t, x, y) == 0 && order(t, x, z) != order(t, y, z) {
			t.Errorf("%s: %q = %q, but %q is not the same to both", scheme, a, b, c)
		}
	})
}

// order is Compare of two versions of one scheme; it is -1, 0 or 1.
func order(t *testing.T, v, w Version) int {
	t.Helper()
	c, err := v.Compare(w)
	if err != nil || c < -1 || c > 1 {
		t.Fatalf("%q against %q = %d, %v", v, w, c, err)
	}
	return c
}
