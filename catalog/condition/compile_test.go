package condition

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCompileRefuses holds what is not part of the language out of it, and
// faults to be named by their place.
func TestCompileRefuses(t *testing.T) {
	tests := []struct{ source, fault string }{
		{``, "line 1, column 1: unexpected token EOF"},
		{`exists("a") &&`, "line 1, column 14: unexpected token EOF"},
		{"exists(\"a\") &&\n  distr() == 1", "line 2, column 3: there is no probe or function distr"},
		{`"é" == distro() && foo`, "line 1, column 20: there are no variables: foo"},
		{`1`, "line 1, column 1: expected bool, but got int"},
		{`pkg("a")`, "expected bool, but got string"},
		{`exists()`, "exists takes 1 arguments, not 0"},
		{`exists("a", "b")`, "exists takes 1 arguments, not 2"},
		{`exists(1)`, "cannot use int as argument (type string) to call exists"},
		{`size("a") == "1"`, "mismatched types int and string"},
		{`"a" + 1 == "a"`, "mismatched types string and int"},
		{`exists`, "there are no variables: exists"},
		{`$env == 1`, "there are no variables: $env"},
		{`let a = 1; a == 1`, "not part of the language"},
		{`true; false`, "not part of the language"},
		{`nil == nil`, "not part of the language"},
		{`[1] == [1]`, "not part of the language"},
		{`{"a": 1} == {"a": 1}`, "not part of the language"},
		{`b"a" == b"a"`, "not part of the language"},
		{`len([1, 2]) == 2`, "not part of the language"},
		{`1 in [[1]]`, "not part of the language"},
		{`distro().x == 1`, "there is nothing that has fields"},
		{`distro()?.x == 1`, ""},
		{`distro() ?? "a" == "b"`, ""},
		{`(distro() ?? "a") == "b"`, "there is no operator ??"},
		{`"a".b() == 1`, "only probes and functions can be called"},
		{`1 in 1..3`, "there is no operator .."},
		{`len(1..1000000000) == 1`, "there is no operator .."},
		{`2 ** 3 == 8`, "there is no operator **"},
		{`2 ^ 3 == 8`, "there is no operator ^"},
		{`1 < size("a") < 3`, "line 1, column 5: this is asked twice"},
		{`exists("a") ?: exists("b")`, "this is asked twice"},
		{`(exists("a") ? 1 : "a") == 1`, "the type of this is not known"},
		{`"a" matches "("`, "missing closing )"},
		{`"a" matches distro()`, "must be a text in quotes"},
		{`"a" matches "a" + "b"`, "must be a text in quotes"},
		{`"a" matches "(a{1000}){2}"`, "invalid repeat count"},
		{`"a" matches "a{499}" || "b" matches "b{499}" || "c" matches "c{9}"`, "patterns of more than 1000 instructions"},
		{`dmi("colour") == ""`, `"colour" is none of vendor, product, serial, board, bios`},
		{`machine("ip") == ""`, `"ip" is none of name, uuid, mac`},
		{`compare("pep440", "1", "2") == 0`, `"pep440" is none of deb, rpm`},
		{`compare("deb", "1", "1_2") == 0`, `line 1, column 21: malformed version: "1_2" as deb`},
		{`within("deb", pkg("a"), ">=1 2")`, `line 1, column 25: malformed version: range ">=1 2"`},
		{strings.Repeat(" ", 4093) + "true", "4097 bytes, at most 4096"},
		{strings.Repeat("!", 4000) + "true", "exceeds maximum"},
		{strings.Repeat("(", 4000), "unexpected token EOF"},
	}
	for _, tt := range tests {
		_, err := CompileBool(tt.source)
		var at *Error
		if !errors.As(err, &at) {
			t.Errorf("%.60s: %v, want an *Error", tt.source, err)
			continue
		}
		if !strings.Contains(err.Error(), tt.fault) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.60s: %v, want %s", tt.source, err, tt.fault)
		}
	}
	if _, err := CompileText(`exists("a")`); err == nil {
		t.Error("a condition that gives true or false compiles as one that gives text")
	}
}

// TestNothingElseCanBeCalled tries every word that expr knows, and some that it
// may learn, as a function of up to three arguments.
func TestNothingElseCanBeCalled(t *testing.T) {
	words := strings.Fields(`all none any one filter map find findIndex findLast findLastIndex count sum groupBy sortBy reduce type ceil floor
		round float string splitAfter replace repeat join max min mean median toJSON fromJSON toBase64 fromBase64 now duration date timezone
		first last get take keys values toPairs fromPairs reverse uniq concat flatten sort bitand bitor bitxor bitnand bitshl bitshr bitushr bitnot
		env exec read open print env getenv`)
	for _, word := range words {
		for _, args := range []string{``, `"a"`, `1`, `"a", "b"`, `"a", "b", "c"`, `split("a", ""), # == "a"`, `split("a", ""), {true}`, `["a"]`} {
			for _, source := range []string{word + "(" + args + ") == 1", word + "(" + args + ")", `"a" | ` + word + "(" + args + `) == "a"`} {
				if _, err := CompileBool(source); err == nil {
					t.Errorf("%s compiles", source)
				}
				if _, err := CompileText(source); err == nil {
					t.Errorf("%s compiles", source)
				}
			}
		}
	}
}

// TestCompileEndsSoon tries what doubles the tree with every few bytes: expr
// puts the middle of a < b < c, and the left of a ?: b, into the tree twice.
func TestCompileEndsSoon(t *testing.T) {
	start := time.Now()
	for _, source := range []string{
		strings.Repeat("1<(", 300) + "1" + strings.Repeat(")<1", 300),
		strings.Repeat("(", 300) + "true" + strings.Repeat(" ?: true)", 300),
		strings.Repeat("true ? ", 200) + "true" + strings.Repeat(" : true", 200),
		strings.Repeat("!(", 400) + "true" + strings.Repeat(")", 400),
		`exists("` + strings.Repeat(`" + "`, 400) + `")`,
		"true" + strings.Repeat(" && true", 400),
	} {
		_, _ = CompileBool(source)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("compiling took %v", took)
	}
}

func TestProbes(t *testing.T) {
	tests := []struct {
		source  string
		probes  []string
		machine bool
	}{
		{`true`, nil, false},
		{`pkg("a") == pkg("b") && exists("c") && within("deb", pkg("d"), "")`, []string{"pkg", "exists", "within"}, false},
		{`false && memory() > 5`, []string{"memory"}, true},
		{`dmi("vendor") == ""`, []string{"dmi"}, true},
		{`modalias("*")`, []string{"modalias"}, true},
		{`firmware() == "uefi"`, []string{"firmware"}, true},
		{`machine("name") == machine("mac")`, []string{"machine"}, true},
	}
	for _, tt := range tests {
		c, err := CompileBool(tt.source)
		if err != nil {
			t.Errorf("%s: %v", tt.source, err)
			continue
		}
		if got := c.Probes(); !slices.Equal(got, tt.probes) || c.Machine() != tt.machine {
			t.Errorf("%s: Probes() = %v, Machine() = %v, want %v, %v", tt.source, got, c.Machine(), tt.probes, tt.machine)
		}
	}
}

// TestProbesAreDocumented compares the probes, functions and operators with
// section 3 of docs/bundles.md.
func TestProbesAreDocumented(t *testing.T) {
	p, err := os.ReadFile("../../docs/bundles.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(p), "\n## 3. ")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[a-z0-9]+\\(.*?) \\|").FindAllStringSubmatch(section, -1) {
		for _, call := range regexp.MustCompile("`([a-z0-9]+)\\(").FindAllStringSubmatch(row[1], -1) {
			documented = append(documented, call[1])
		}
	}
	var known []string
	for _, p := range probes {
		known = append(known, p.name)
	}
	if !slices.Equal(documented, known) {
		t.Errorf("documented are\n%v, there are\n%v", documented, known)
	}
	for _, word := range append(builtins(), operators()...) {
		if !strings.Contains(section, "`"+word+"`") {
			t.Errorf("%s is not documented", word)
		}
	}
}
