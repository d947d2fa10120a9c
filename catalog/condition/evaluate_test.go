package condition

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestVerdict(t *testing.T) {
	facts := fake{
		"family": "linux", "distro": "debian", "release": "12", "arch": "x64", "exists(yes)": true, "exists(no)": false, "size": int64(5),
		"mode": "0644", "owner": "0:0", "sha256": "", "text": "one two\nthree\n", "ini": "on", "pkg(bash)": "5.2.15-2+b7", "pkg(none)": "",
		"pe": "9.3.0.148", "reg": "1", "product": "9.3", "dmi": "ACME", "modalias": true, "memory": int64(8 << 30), "firmware": "uefi",
		"machine": "pc-1", "size(big)": int64(5 << 40),
	}
	for _, source := range []string{
		`true`, `!false`, `not false`, `distro() == "debian"`, `distro() in ["debian", "ubuntu"]`, `distro() not in ["rhel"]`,
		`exists("yes") and not exists("no")`, `exists("no") or exists("yes")`, `size("a") == 5 && -size("a") == -5`, `size("big") > 5000000000`,
		`size("a") * 2 + 1 - 1 == 10 && size("a") / 2 == 2.5 && size("a") % 3 == 2`, `abs(-size("a")) == 5`,
		`mode("a") + owner("a") == "06440:0"`, `sha256("a") == ""`, `text("a") contains "two"`, `text("a") matches "(?m)^thr.e$"`,
		`text("a") startsWith "one" && text("a") endsWith "\n"`, `hasPrefix(text("a"), "one") && hasSuffix(text("a"), "\n")`,
		`split(text("a"), "\n")[1] == "three"`, `"three" in split(text("a"), "\n")`, `len(split(text("a"), "\n")) == 3`, `len(text("a")) == 14`,
		`upper(distro()) == "DEBIAN" && lower("ÄB") == "äb"`, `trim("  a ") == "a" && trimPrefix("v1", "v") == "1" && trimSuffix("a.x", ".x") == "a"`,
		`int(release()) >= 12`, `indexOf(text("a"), "two") == 4 && lastIndexOf(text("a"), "t") == 8`, `text("a")[4:7] == "two"`, `distro()[:3] == "deb"`,
		`within("deb", pkg("bash"), ">=5.2 <5.3")`, `!within("deb", pkg("none"), "")`, `within("deb", "1", "")`, `compare("windows", pe("a"), "9.3") == 1`,
		`compare("dotted", "1", "1.0") == 0 && compare("dotted", "1", "2") == -1`, `ini("a", "b", "c") == "on" && reg("HKLM\\SOFTWARE\\x", "y") == "1"`,
		`product("reader") == "9.3"`, `dmi("vendor") == "ACME" && modalias("pci:*") && memory() >= 4 * 1024 * 1024 * 1024 && firmware() == "uefi"`,
		`machine("name") == "pc-1" ? true : false`, `if exists("yes") { true } else { false }`, `family() | upper() == "LINUX"`,
		"true // to the end of the line", `arch() != "arm64" && "b" > "a" && 1 <= 1.0`,
	} {
		c, err := CompileBool(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if v, answers := c.Verdict(t.Context(), facts); v != Yes {
			t.Errorf("%s is %v, want yes: %v", source, v, answers)
		}
		no, err := CompileBool("!(" + strings.TrimSuffix(source, " // to the end of the line") + ")")
		if err != nil {
			t.Errorf("not %s: %v", source, err)
			continue
		}
		if v, answers := no.Verdict(t.Context(), facts); v != No {
			t.Errorf("not %s is %v, want no: %v", source, v, answers)
		}
	}
}

func TestText(t *testing.T) {
	facts := fake{"text": "Version: 9.3 \n", "pkg(a)": "", "pkg(b)": "1.2-3", "exists": true, "pe": errDisk}
	tests := []struct {
		source, want string
		known        bool
	}{
		{`pkg("a")`, "", true},
		{`split(pkg("b"), "-")[0]`, "1.2", true},
		{`trim(split(text("v"), ":")[1])`, "9.3", true},
		{`exists("x") ? pkg("b") + "+x" : ""`, "1.2-3+x", true},
		{`split(pkg("b"), "-")[2]`, "", false},
		{`pe("x")`, "", false},
		{`pkg("b") + pe("x")`, "", false},
		{`exists("x") ? "" : pe("x")`, "", true},
	}
	for _, tt := range tests {
		c, err := CompileText(tt.source)
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		got, known, answers := c.Text(t.Context(), facts)
		if got != tt.want || known != tt.known {
			t.Errorf("%s = %q, %v, want %q, %v: %v", tt.source, got, known, tt.want, tt.known, answers)
		}
		if !known && answers[len(answers)-1].Err == "" {
			t.Errorf("%s is unknown without a reason: %v", tt.source, answers)
		}
	}
}

// verdicts of a probe, as its name.
var three = map[string]Verdict{`exists("y")`: Yes, `exists("n")`: No, `exists("u")`: Unknown}

// and, or are the tables of docs/bundles.md: from left to right, and what is
// decided is not asked on.
func and(a, b Verdict) Verdict {
	if a == Yes {
		return b
	}
	return a
}

func or(a, b Verdict) Verdict {
	if a == No {
		return b
	}
	return a
}

// TestThreeValues holds the tables, and De Morgan's laws, for all verdicts of
// two and three probes.
func TestThreeValues(t *testing.T) {
	for a, va := range three {
		expect(t, "!"+a, va.Not())
		expect(t, a+` ? exists("y") : exists("n")`, va)
		for b, vb := range three {
			expect(t, a+" && "+b, and(va, vb))
			expect(t, a+" || "+b, or(va, vb))
			expect(t, "!("+a+" && "+b+")", or(va.Not(), vb.Not()))
			expect(t, "!"+a+" || !"+b, and(va, vb).Not())
			expect(t, "!("+a+" || "+b+")", and(va.Not(), vb.Not()))
			expect(t, "!"+a+" && !"+b, or(va, vb).Not())
			for c, vc := range three {
				expect(t, a+" && ("+b+" || "+c+")", and(va, or(vb, vc)))
				expect(t, a+" || "+b+" && "+c, or(va, and(vb, vc)))
				expect(t, "("+a+" && "+b+") && "+c, and(va, and(vb, vc)))
			}
		}
	}
}

// expect evaluates a condition, and holds every probe that cannot answer to end
// it.
func expect(t *testing.T, source string, want Verdict) {
	t.Helper()
	c, err := CompileBool(source)
	if err != nil {
		t.Fatal(err)
	}
	got, answers := c.Verdict(t.Context(), fake{"exists(y)": true, "exists(n)": false, "exists(u)": errDisk})
	if got != want {
		t.Errorf("%s is %v, want %v: %v", source, got, want, answers)
	}
	for i, a := range answers {
		if (a.Err != "") != (want == Unknown && i == len(answers)-1) {
			t.Errorf("%s is %v, but answer %d is %v", source, got, i, a)
		}
	}
}

// TestUnknown has the reasons for which there is no verdict.
func TestUnknown(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	facts := fake{
		"exists":   func() any { panic("a bug") },
		"memory":   ErrNoMachine,
		"size":     "five",
		"pkg":      "1_2",
		"text":     strings.Repeat("a", maxText),
		"sha256":   strings.Repeat("a", maxText+1),
		"firmware": func() any { cancel(); return "bios" },
		"distro":   nil,
	}
	tests := []struct{ source, reason string }{
		{`exists("a")`, `exists("a"): the probe panicked: a bug`},
		{`memory() > 1`, "memory(): there is no machine to ask"},
		{`size("a") > 1`, `size("a"): the probe gave a string`},
		{`distro() == ""`, `distro(): the probe gave a <nil>`},
		{`within("deb", pkg("a"), ">1")`, `within("deb", "1_2", ">1"): malformed version: "1_2" as deb: has a character that none may have`},
		{`compare("deb", pkg("a"), "1") == 0`, `compare("deb", "1_2", "1"): malformed version`},
		{`compare("deb", "1", pkg("a")) == 0`, `compare("deb", "1", "1_2"): malformed version`},
		{`compare(pkg("a"), "1", "1") == 0`, `compare("1_2", "1", "1"): scheme: there is none called "1_2"`},
		{`within("deb", "1", pkg("a"))`, `within("deb", "1", "1_2"): malformed version`},
		{`split("a", "b")[5] == ""`, "line 1, column 16: index out of range"},
		{`int("x") == 1`, "line 1, column 1: invalid operation: int(x)"},
		{"true &&\n 1 % 0 == 1", "line 2, column 4: runtime error: integer divide by zero"},
		{`text("a") + "b" == ""`, "line 1, column 11: a text of 65537 bytes, at most 65536"},
		{`sha256("a") == ""`, `a text of 65537 bytes, at most 65536`},
		{`firmware() == "bios" && exists("a")`, `exists("a"): context canceled`},
	}
	for _, tt := range tests {
		c, err := CompileBool(tt.source)
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		ctx := t.Context()
		if strings.Contains(tt.source, "firmware") {
			ctx = ended
		}
		v, answers := c.Verdict(ctx, facts)
		if v != Unknown || len(answers) == 0 || !strings.Contains(answers[len(answers)-1].String(), tt.reason) {
			t.Errorf("%s is %v: %.300v, want unknown: %s", tt.source, v, answers, tt.reason)
		}
	}
}

// TestOrderOfQuestions holds that nothing is asked while compiling, and nothing
// twice or in vain while evaluating.
func TestOrderOfQuestions(t *testing.T) {
	var asked []string
	facts := recorder{&asked}
	c, err := CompileBool(`exists("1") && (exists("2") || exists("no")) && !(size("3") > 0 ? false : exists("no"))`)
	if err != nil || len(asked) > 0 {
		t.Fatalf("compiling: %v, and asked for %v", err, asked)
	}
	if v, _ := c.Verdict(t.Context(), facts); v != Yes || fmt.Sprint(asked) != "[exists 1 exists 2 size 3]" {
		t.Errorf("%v after %v, want yes after [exists 1 exists 2 size 3]", v, asked)
	}
}

// A recorder says yes to everything.
type recorder struct{ asked *[]string }

func (r recorder) Probe(_ context.Context, name string, args ...string) (any, error) {
	*r.asked = append(append(*r.asked, name), args...)
	if name == "size" {
		return int64(1), nil
	}
	return true, nil
}

// TestConcurrent evaluates one condition from several goroutines.
func TestConcurrent(t *testing.T) {
	c, err := CompileBool(`distro() + release() == "debian12" && text("a") matches "^b*$"`)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if v, answers := c.Verdict(t.Context(), fake{"distro": "debian", "release": "12", "text": "bbb"}); v != Yes {
					t.Errorf("got %v: %v", v, answers)
					return
				}
			}
		})
	}
	group.Wait()
}

// worst are conditions that take as long as one can.
func worst() []string {
	return []string{
		`text("a") matches "^((a|b| )*(a|b| )*){40}x$"`,
		`text("a") matches "(a?b?){160}x"`,
		strings.Repeat(`text("a") matches "(a?b?){60}x" || `, 2) + "false",
		"false" + strings.Repeat(` || "x" in split(text("a"), "")`, 120),
		"false" + strings.Repeat(` || upper(text("a")) == ""`, 140),
		"false" + strings.Repeat(` || indexOf(text("a"), text("b")) == 0`, 95),
	}
}

// worstFacts have texts of n bytes.
func worstFacts(n int) fake {
	long := strings.Repeat("ab", n/2)
	return fake{"text(a)": long, "text(b)": long[:n/2-1] + "x"}
}

// TestEvaluateEndsSoon holds the time to grow with a text as its length does:
// by more than that only if something in it runs away. BenchmarkWorst has the
// longest texts, which are too much for the race detector.
func TestEvaluateEndsSoon(t *testing.T) {
	for _, source := range worst() {
		c, err := CompileBool(source)
		if err != nil {
			t.Errorf("%.60s: %v", source, err)
			continue
		}
		start := time.Now()
		v, answers := c.Verdict(t.Context(), worstFacts(maxText/64))
		if took := time.Since(start); v != No || took > 30*time.Second {
			t.Errorf("%.60s is %v after %v: %.100v", source, v, took, answers)
		}
	}
}
