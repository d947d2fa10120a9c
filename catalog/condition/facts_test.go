package condition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// fake answers probes by their name or, first, by their name and their
// arguments: `pkg(bash)`. An error is an answer that cannot be given; a func is
// called.
type fake map[string]any

func (f fake) Probe(_ context.Context, name string, args ...string) (any, error) {
	value, ok := f[name+"("+strings.Join(args, ",")+")"]
	if !ok {
		value, ok = f[name]
	}
	switch v := value.(type) {
	case error:
		return nil, v
	case func() any:
		return v(), nil
	}
	if !ok {
		return nil, fmt.Errorf("%s was not expected", name)
	}
	return value, nil
}

var errDisk = errors.New("input/output error")

func TestAnswers(t *testing.T) {
	c, err := CompileBool(`within("deb", pkg("bash"), "<5.2") || size("etc/motd") > 10 && exists("a\"b")`)
	if err != nil {
		t.Fatal(err)
	}
	facts := fake{"pkg(bash)": "5.2.15-2+b7", "size": int64(286), "exists": errDisk}
	verdict, answers := c.Verdict(t.Context(), facts)
	want := []Answer{
		{Probe: "pkg", Args: []string{"bash"}, Value: "5.2.15-2+b7"},
		{Probe: "within", Args: []string{"deb", "5.2.15-2+b7", "<5.2"}, Value: "false"},
		{Probe: "size", Args: []string{"etc/motd"}, Value: "286"},
		{Probe: "exists", Args: []string{`a"b`}, Err: "input/output error"},
	}
	if verdict != Unknown || !reflect.DeepEqual(answers, want) {
		t.Errorf("got %v\n%v, want unknown\n%v", verdict, answers, want)
	}
	lines := []string{
		`pkg("bash") = "5.2.15-2+b7"`,
		`within("deb", "5.2.15-2+b7", "<5.2") = "false"`,
		`size("etc/motd") = "286"`,
		`exists("a\"b"): input/output error`,
	}
	for i, line := range lines {
		if got := answers[i].String(); got != line {
			t.Errorf("got %s, want %s", got, line)
		}
	}
}

// TestAnswersAreShort holds explanations to a size that can be stored for every
// bundle and machine.
func TestAnswersAreShort(t *testing.T) {
	c, err := CompileBool(`text("` + strings.Repeat("ä", 1000) + `") == ""`)
	if err != nil {
		t.Fatal(err)
	}
	_, answers := c.Verdict(t.Context(), fake{"text": strings.Repeat("aé", 10000)})
	for _, s := range []string{answers[0].Value, answers[0].Args[0]} {
		if len(s) > maxShown || len(s) < maxShown-4 || !utf8.ValidString(s) || !strings.HasSuffix(s, "…") {
			t.Errorf("%d bytes are shown: %q", len(s), s)
		}
	}
}

func TestVerdictText(t *testing.T) {
	for v, word := range map[Verdict]string{Unknown: "unknown", No: "no", Yes: "yes"} {
		p, err := json.Marshal(map[string]Verdict{"v": v})
		if want := `{"v":"` + word + `"}`; string(p) != want || err != nil || v.String() != word {
			t.Errorf("%d is written as %s, %v, want %s", v, p, err, want)
		}
		var back struct{ V Verdict }
		if err := json.Unmarshal(p, &back); err != nil || back.V != v {
			t.Errorf("%s is read as %v, %v, want %v", p, back.V, err, v)
		}
	}
	var v Verdict
	if err := v.UnmarshalText([]byte("Yes")); err == nil {
		t.Errorf("Yes is read as %v, want an error", v)
	}
}
