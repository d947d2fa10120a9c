package root

import (
	"slices"
	"testing"
)

// The label of SELinux is never taken away: a kernel with a policy, which has given every file one, would refuse
// that, and nothing could be staged.
func TestUnwanted(t *testing.T) {
	named := func(names ...string) (list []Xattr) {
		for _, name := range names {
			list = append(list, Xattr{Name: name})
		}
		return list
	}
	for _, tt := range []struct{ have, want, removed []Xattr }{
		{named(Label), nil, nil},
		{named(Label), named(Label), nil},
		{named(Label, "user.a"), nil, named("user.a")},
		{named("security.capability", Label, "user.a"), named("user.a", "user.b"), named("security.capability")},
		{nil, named(Label, "user.a"), nil},
	} {
		if got := named(unwanted(tt.have, tt.want)...); !slices.EqualFunc(got, tt.removed, func(x, y Xattr) bool { return x.Name == y.Name }) {
			t.Errorf("have %v, want %v: %v is removed, want %v", tt.have, tt.want, got, tt.removed)
		}
	}
}

// A label is the same with the NUL that a kernel with a policy shows behind it.
func TestSameLabel(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{"a_t", "a_t", true}, {"a_t", "a_t\x00", true}, {"a_t\x00", "a_t", true},
		{"a_t", "b_t", false}, {"", "a_t", false}, {"a_t\x00\x00", "a_t", false},
	} {
		if got := SameLabel([]byte(tt.a), []byte(tt.b)); got != tt.same {
			t.Errorf("%q and %q: %v, want %v", tt.a, tt.b, got, tt.same)
		}
	}
}
