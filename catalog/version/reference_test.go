package version

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// pairs is how many pairs of versions are compared with dpkg and with rpm.
const pairs = 100_000

// TestRootOrderOfDpkg compares with dpkg's own code, which a process for each
// pair would be too slow for.
func TestRootOrderOfDpkg(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "gcc", "dpkg")
	program := filepath.Join(t.TempDir(), "dpkgversion")
	if out, err := exec.Command("gcc", "-o", program, "testdata/dpkgversion.c", "-ldpkg").CombinedOutput(); err != nil {
		t.Fatalf("building testdata/dpkgversion.c needs libdpkg-dev (scripts/setup laboratory): %v\n%s", err, out)
	}
	list := generate(t, "deb", debWord)
	against(t, "deb", list, ask(t, program, strings.Join(list, "\n")+"\n"))

	t.Run("syntax", func(t *testing.T) { syntaxOfDpkg(t, program) })
	t.Run("program", func(t *testing.T) { programOfDpkg(t, list[:200]) })
}

// TestRootOrderOfRPM compares with rpm itself: its Lua has rpm.vercmp.
func TestRootOrderOfRPM(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "rpm")
	list := generate(t, "rpm", rpmWord)
	questions, answers := filepath.Join(t.TempDir(), "questions"), filepath.Join(t.TempDir(), "answers")
	if err := os.WriteFile(questions, []byte(strings.Join(list, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	// What is printed becomes part of a macro, which 100,000 lines are too long for.
	const script = `%%{lua: out = io.open("%s", "w")
		for line in io.lines("%s") do a, b = line:match("^(.-) (.*)$"); out:write(rpm.vercmp(a, b), "\n") end
		out:close()}`
	ask(t, "rpm", "", "--eval", fmt.Sprintf(script, answers, questions))
	out, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	against(t, "rpm", list, strings.Fields(string(out)))
}

// ask runs a program and returns the words that it prints.
func ask(t *testing.T, program, stdin string, args ...string) []string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	return strings.Fields(string(out))
}

// against compares our order of pairs with what was answered.
func against(t *testing.T, scheme string, list, answers []string) {
	t.Helper()
	if len(answers) != len(list) {
		t.Fatalf("%d answers for %d pairs", len(answers), len(list))
	}
	seen := map[string]int{}
	for i, pair := range list {
		a, b, _ := strings.Cut(pair, " ")
		got := fmt.Sprint(order(t, parse(t, scheme, a), parse(t, scheme, b)))
		if got != answers[i] {
			t.Errorf("%s against %s = %s, want %s", a, b, got, answers[i])
		}
		seen[got]++
	}
	t.Logf("of %d pairs, %d are equal, %d ascend, %d descend", len(list), seen["0"], seen["-1"], seen["1"])
	if min(seen["0"], seen["-1"], seen["1"]) < len(list)/50 {
		t.Errorf("the pairs are too much alike: %v", seen)
	}
}

// generate returns pairs of valid versions that are near each other, with a
// blank between them. They are the same in every run.
func generate(t *testing.T, scheme string, word func(*rand.Rand) string) []string {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 2026))
	var list []string
	for len(list) < pairs {
		a := word(rng)
		b := mutate(rng, a)
		_, errA := Parse(scheme, a)
		_, errB := Parse(scheme, b)
		if errA == nil && errB == nil {
			list = append(list, a+" "+b)
		}
	}
	return list
}

// debWord makes up a version for dpkg. It is not always valid.
func debWord(rng *rand.Rand) string {
	s := parts(rng, []string{".", ".", ".", "+", "~", "-", "~~", "a", "rc", "dfsg", "Z", ":"})
	if rng.IntN(4) == 0 {
		s = fmt.Sprint(rng.IntN(3), ":", s)
	}
	if rng.IntN(2) == 0 {
		s += "-" + parts(rng, []string{".", "+", "~", "+deb12u", "~bpo", "ubuntu"})
	}
	return s
}

// rpmWord makes up a version for rpm.
func rpmWord(rng *rand.Rand) string {
	marks := []string{".", ".", ".", "_", "+", "~", "^", "~^", "^~", "..", "a", "rc", "el", "Z", "git"}
	s := parts(rng, marks)
	if rng.IntN(4) == 0 {
		s = fmt.Sprint(rng.IntN(3), ":", s)
	}
	if rng.IntN(2) == 0 {
		s += "-" + parts(rng, marks)
	}
	return s
}

// parts puts numbers between marks.
func parts(rng *rand.Rand, marks []string) string {
	s := number(rng)
	for range rng.IntN(5) {
		s += marks[rng.IntN(len(marks))]
		if rng.IntN(4) > 0 {
			s += number(rng)
		}
	}
	return s
}

// number makes up a number, now and then with zeros before it or with more than
// 20 digits.
func number(rng *rand.Rand) string {
	s := fmt.Sprint(rng.IntN([]int{2, 12, 3000}[rng.IntN(3)]))
	switch rng.IntN(12) {
	case 0:
		return "00"[rng.IntN(2):] + s
	case 1:
		return fmt.Sprintf("%d%020d", 1+rng.IntN(2), rng.IntN(3)) + s
	}
	return s
}

// mutate returns a version that differs from s in a place or two.
func mutate(rng *rand.Rand, s string) string {
	const letters = "0001239~~^.+-:_azAZ"
	for range 1 + rng.IntN(2) {
		i := rng.IntN(len(s) + 1)
		c := string(letters[rng.IntN(len(letters))])
		switch {
		case i == len(s) || rng.IntN(3) == 0:
			s = s[:i] + c + s[i:]
		case rng.IntN(2) == 0 && len(s) > 1:
			s = s[:i] + s[i+1:]
		default:
			s = s[:i] + c + s[i+1:]
		}
	}
	return s
}

// syntaxOfDpkg holds us to take what dpkg takes and nothing else, except that
// dpkg takes a sign before an epoch.
func syntaxOfDpkg(t *testing.T, program string) {
	rng := rand.New(rand.NewPCG(7, 2026))
	var list []string
	for len(list) < pairs {
		s := mutate(rng, mutate(rng, mutate(rng, debWord(rng))))
		if s != "" && s[0] != '+' && s[0] != '-' {
			list = append(list, s+" "+s)
		}
	}
	answers := ask(t, program, strings.Join(list, "\n")+"\n")
	if len(answers) != len(list) {
		t.Fatalf("%d answers for %d versions", len(answers), len(list))
	}
	refused := 0
	for i, pair := range list {
		s, _, _ := strings.Cut(pair, " ")
		if _, err := Parse("deb", s); (err == nil) != (answers[i] != "x") {
			t.Errorf("Parse(deb, %q): %v, but dpkg says %s", s, err, answers[i])
		}
		if answers[i] == "x" {
			refused++
		}
	}
	t.Logf("dpkg refuses %d of %d", refused, len(list))
	if refused < pairs/10 {
		t.Errorf("only %d of %d are refused", refused, len(list))
	}
}

// programOfDpkg asks the program dpkg, so that what is compared with is what is
// installed.
func programOfDpkg(t *testing.T, list []string) {
	for _, pair := range list {
		a, b, _ := strings.Cut(pair, " ")
		relation := [...]string{"lt", "eq", "gt"}[1+order(t, parse(t, "deb", a), parse(t, "deb", b))]
		if err := exec.Command("dpkg", "--compare-versions", a, relation, b).Run(); err != nil {
			t.Errorf("dpkg --compare-versions %s %s %s: %v", a, relation, b, err)
		}
	}
}
