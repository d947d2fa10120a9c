package condition

import (
	"errors"
	"testing"
	"time"
)

// FuzzCondition holds whatever compiles to end soon, to say the same twice, to
// have a reason if it is unknown, and to be the opposite of its negation.
func FuzzCondition(f *testing.F) {
	for _, source := range []string{
		everyday, `size("a") > 3 ? exists("b") : memory() < 5`, `split(text("a"), ",")[1] matches "^a+$"`, `"a" in ["a", distro()]`,
		`!(exists("a") || exists("b")) and not false`, `len(text("a")[1:5]) + int("7") * 2 >= 7.5`, `compare("deb", pkg("a"), "1~rc") == -1`,
		`if true { exists("a") } else { false }`, `text("a") | trim() | upper() == "A"`, `1 < 2 < 3`, `exists("a") ?: false`, `let x = 1; x == 1`,
	} {
		f.Add(source, "1.2,aa", int64(7), true)
	}
	f.Fuzz(func(t *testing.T, source, text string, number int64, truth bool) {
		c, err := CompileBool(source)
		if err != nil {
			var at *Error
			if !errors.As(err, &at) || at.Line < 1 || at.Column < 1 || at.Message == "" {
				t.Errorf("%q: %#v, want an *Error with a place", source, err)
			}
			return
		}
		start := time.Now()
		facts := fake{
			"family": text, "distro": text, "release": text, "arch": text, "mode": text, "owner": text, "sha256": text, "text": text, "ini": text,
			"pkg": text, "pe": text, "reg": text, "product": text, "exists": truth, "size": number, "dmi": errDisk, "modalias": errDisk,
			"memory": number, "firmware": text, "machine": ErrNoMachine,
		}
		v, answers := c.Verdict(t.Context(), facts)
		if again, _ := c.Verdict(t.Context(), facts); again != v {
			t.Errorf("%q is %v and then %v", source, v, again)
		}
		if (v == Unknown) != (len(answers) > 0 && answers[len(answers)-1].Err != "") {
			t.Errorf("%q is %v with %v", source, v, answers)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%q took %v", source, took)
		}
		not, err := CompileBool("!(" + source + "\n)")
		if err != nil {
			return // what fits in 4 KiB, and into the bound of nodes, by itself alone
		}
		if w, _ := not.Verdict(t.Context(), facts); w != v.Not() {
			t.Errorf("%q is %v, its negation is %v", source, v, w)
		}
	})
}
