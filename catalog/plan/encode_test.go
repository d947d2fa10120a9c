package plan

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
)

// samplePlan is the plan of the vector in docs/bundles.md.
func samplePlan(t testing.TB) *Plan {
	list := some(`
		reader@9.0-1 fresh
		reader@9.2-1 onto:>=9.0,<9.2 between
		reader@9.3-1 onto:>=9.2,<9.3 needs:vcredist>=14 critical
		vcredist@14-1 if:arch()=="x64"`)
	list[2].Params = []bundle.Param{{Name: "KEY", Secret: true}, {Name: "NAME", Machine: "name"}, {Name: "SERVER", Default: "licence"}}
	c, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Look(t.Context(), have("reader 9.0"), LookOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Resolve(f, Options{Version: 7, Params: map[string]map[string]string{"reader": {"SERVER": "licence.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The vector of docs/bundles.md is what Encode writes.
func TestEncodeVector(t *testing.T) {
	doc, err := os.ReadFile("../../docs/bundles.md")
	if err != nil {
		t.Fatal(err)
	}
	p := samplePlan(t)
	for _, want := range []string{"```\n" + string(p.Encode()) + "```\n", "`" + p.Digest() + "`"} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("docs/bundles.md has not the vector\n%s", want)
		}
	}
}

func TestDecode(t *testing.T) {
	p := samplePlan(t)
	got, err := Decode(p.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest() != p.Digest() {
		t.Errorf("digest %s after reading, want %s", got.Digest(), p.Digest())
	}
	if len(got.Steps) != 3 || got.Reboots() != 1 || got.Bytes() != 3000 {
		t.Errorf("%d steps, %d reboots, %d bytes, want 3, 1, 3000", len(got.Steps), got.Reboots(), got.Bytes())
	}
}

// A secret never gets into a plan.
func TestNoSecretInAPlan(t *testing.T) {
	list := some("x@1-1")
	list[0].Params = []bundle.Param{{Name: "KEY", Secret: true, Default: "hunter2"}}
	c, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Look(t.Context(), have(), LookOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, params := range []map[string]map[string]string{nil, {"x": {"KEY": "hunter2"}}} {
		p, err := c.Resolve(f, Options{Params: params})
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(p.Encode(), []byte("hunter2")) {
			t.Errorf("the plan has the secret:\n%s", p.Encode())
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := string(samplePlan(t).Encode())
	change := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the plan has no %s", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	tests := []struct{ name, text string }{
		{"empty", ""},
		{"not JSON", "plan"},
		{"another schema", change(`"schema":1`, `"schema":2`)},
		{"a key that is not known", change(`"schema":1`, `"schema":1,"more":1`)},
		{"a key twice", change(`"schema":1`, `"schema":1,"schema":1`)},
		{"a blank", change(`"schema":1,`, `"schema":1, `)},
		{"something after it", good + good},
		{"no line end", strings.TrimSuffix(good, "\n")},
		{"an empty key", change(`"schema":1,`, `"schema":1,"root":"",`)},
		{"a key in other letters", change(`"schema"`, `"Schema"`)},
		{"no digest", change(`"digest":"`, `"digest":"x`)},
		{"no bundle", change(`"bundle":"reader@9.2-1"`, `"bundle":"../reader@9.2-1"`)},
		{"no state", change(`"state":"missing"`, `"state":"fine"`)},
		{"no reason", change(`"reason":"it is there"`, `"reason":""`)},
		{"no reboot", change(`"reboot":"between"`, `"reboot":"maybe"`)},
		{"no severity", change(`"severity":"critical"`, `"severity":"huge"`)},
		{"a number below 0", change(`"bytes":1000`, `"bytes":-1000`)},
		{"products in another order", change(`"name":"reader"`, `"name":"writer"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Decode([]byte(tt.text)); !errors.Is(err, ErrMalformed) {
				t.Errorf("Decode = %v, want ErrMalformed", err)
			}
		})
	}
}

// What is found on a root may be anything; a plan of it can be read.
func TestEncodeForeignText(t *testing.T) {
	list := some(`x@1-1 if:pkg("y")=="1"`)
	for _, text := range []string{"\xff\xfe", "<script>", "a\u2028b", "\x00\n", strings.Repeat("ä", 1000)} {
		p := resolve(t, list, have("y "+text), Options{})
		again, err := Decode(p.Encode())
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again.Digest() != p.Digest() {
			t.Errorf("%q: another plan after reading", text)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(samplePlan(f).Encode())
	f.Add((&Plan{Schema: 1}).Encode())
	f.Add([]byte(`{"schema":1,"steps":[{"bundle":"x@1-1","digest":"","why":""}]}` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := Decode(text)
		if err != nil {
			return // refusing is always allowed, panicking never
		}
		if !bytes.Equal(p.Encode(), text) {
			t.Errorf("%q is read as %+v, which is written as %q", text, p, p.Encode())
		}
		if c, err := Compile(nil); err != nil {
			t.Fatal(err)
		} else if f, err := c.Look(t.Context(), have(), LookOptions{}); err != nil {
			t.Fatal(err)
		} else if _, err := c.Check(p, f, p.Root); err == nil && len(p.Steps) > 0 {
			t.Errorf("an empty catalog takes a plan with steps: %q", text)
		}
	})
}
