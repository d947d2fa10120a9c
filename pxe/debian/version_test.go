package debian

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// ascending are versions from the oldest to the newest.
var ascending = []string{
	"0~~", "0~~a", "0~", "0", "0a", "0.0~1", "0.0", "0.1~rc1-1", "0.1-1~bpo12+1", "0.1-1", "0.1-1+b1", "0.1-1+deb13u1",
	"0.1-1.1", "0.1-2", "0.1a-1", "0.1+dfsg-1", "0.9", "0.10", "1.0", "1.0-0a", "1.0a", "1.0+", "1.2.3-4", "1.2.3-04a",
	"2.06-13+deb12u1", "2.06-13+deb12u2", "2.12~rc1-1", "2.12-9", "2.12-9+deb13u2", "6.12.9-1", "6.12.107-1", "6.12.117-1",
	"99999999999999999999-1", "100000000000000000000-1", "1:0", "1:0.5-1", "2:0:1-1", "10:0",
}

func TestVersionOrder(t *testing.T) {
	for i, a := range ascending {
		for j, b := range ascending {
			want := 0
			if i != j {
				want = (i - j) / max(i-j, j-i)
			}
			if got := version(t, a).Compare(version(t, b)); got != want {
				t.Errorf("%s against %s = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestVersionsEqual(t *testing.T) {
	for _, pair := range [][2]string{{"1.0", "1.00"}, {"1.0", "0:1.0"}, {"1.0", "1.0-0"}, {"1.01", "1.1"}, {"1a0", "1a"}} {
		if got := version(t, pair[0]).Compare(version(t, pair[1])); got != 0 {
			t.Errorf("%s against %s = %d, want 0", pair[0], pair[1], got)
		}
	}
}

func TestParseVersionRejects(t *testing.T) {
	for _, s := range []string{"", "-1", "a1", "1-", ":1", "x:1", "2147483648:1", "-1:1", "1_0", "1 0", "1/0", "1-1:2-é"} {
		if v, err := ParseVersion(s); !errors.Is(err, ErrMalformed) {
			t.Errorf("ParseVersion(%q) = %+v, %v, want ErrMalformed", s, v, err)
		}
	}
}

// TestVersionsAgainstDpkg compares every pair of versions with dpkg.
func TestVersionsAgainstDpkg(t *testing.T) {
	lab.Tools(t, "dpkg")
	var questions strings.Builder
	var want []string
	all := append([]string{"1.00", "0:1.0", "1.0-0", "1.01"}, ascending...)
	for i, a := range all {
		for _, b := range all[i+1:] {
			c := version(t, a).Compare(version(t, b))
			relation := [...]string{"lt", "eq", "gt"}[c+1]
			fmt.Fprintln(&questions, a, relation, b)
			want = append(want, a+" "+relation+" "+b)
		}
	}
	ask := exec.Command("sh", "-c", `while read -r a op b; do dpkg --compare-versions "$a" "$op" "$b" && echo "$a $op $b" || echo "dpkg: not $a $op $b"; done`)
	ask.Stdin = strings.NewReader(questions.String())
	out, err := ask.Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(got) != len(want) {
		t.Fatalf("dpkg answered %d questions of %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Error(got[i])
		}
	}
}

// version is ParseVersion of a version that is right.
func version(t testing.TB, s string) Version {
	t.Helper()
	v, err := ParseVersion(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// FuzzVersion holds the order to be one, and the text of a version to be read
// back as it was.
func FuzzVersion(f *testing.F) {
	for i, s := range ascending {
		f.Add(s, ascending[(i*7)%len(ascending)], ascending[(i*13)%len(ascending)])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		x, errX := ParseVersion(a)
		y, errY := ParseVersion(b)
		z, errZ := ParseVersion(c)
		if errX != nil || errY != nil || errZ != nil {
			return
		}
		if again, err := ParseVersion(x.String()); err != nil || again != x {
			t.Errorf("%q is %+v, its text %q is %+v, %v", a, x, x, again, err)
		}
		if x.Compare(x) != 0 || x.Compare(y) != -y.Compare(x) {
			t.Errorf("%q against %q = %d, but %d the other way", a, b, x.Compare(y), y.Compare(x))
		}
		if x.Compare(y) <= 0 && y.Compare(z) <= 0 && x.Compare(z) > 0 {
			t.Errorf("%q <= %q <= %q, but not the first <= the last", a, b, c)
		}
	})
}
