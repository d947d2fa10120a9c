package debian

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// collect returns the paragraphs of a control file.
func collect(text string, keep ...string) ([]stanza, error) {
	var out []stanza
	for s, err := range stanzas(strings.NewReader(text), keep...) {
		if err != nil {
			return out, err
		}
		out = append(out, s)
	}
	return out, nil
}

func TestStanzas(t *testing.T) {
	got, err := collect("\n\nPackage: a\nDROPPED: x\n more of it\nsize:\t7 \n\n \nPACKAGE: b\nSize:\n one\n  two\n", "package", "size")
	if err != nil {
		t.Fatal(err)
	}
	want := []stanza{{"package": "a", "size": "7"}, {"package": "b", "size": "one\ntwo"}}
	if len(got) != len(want) || !maps.Equal(got[0], want[0]) || !maps.Equal(got[1], want[1]) {
		t.Errorf("stanzas = %q, want %q", got, want)
	}
}

func TestStanzasReject(t *testing.T) {
	tests := []struct{ name, text string }{
		{"continues nothing", " a"},
		{"continues nothing in the second paragraph", "Package: a\n\n b"},
		{"no colon", "Package"},
		{"no name", ": a"},
		{"blank in the name", "Pack age: a"},
		{"field twice", "Package: a\npackage: b"},
		{"long line", "Package: " + strings.Repeat("a", maxLine)},
		{"much text", "Package: a\n" + strings.Repeat(" "+strings.Repeat("b", maxLine-10)+"\n", maxStanza/maxLine+1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := collect(tt.text, "package"); !errors.Is(err, ErrMalformed) {
				t.Errorf("stanzas gave %d, %v, want ErrMalformed", len(got), err)
			}
		})
	}
}

// FuzzStanzas writes down what was read, and reads it again.
func FuzzStanzas(f *testing.F) {
	f.Add("Package: a\nSize:\n one\n two\n\nPackage: b\n")
	f.Add("size: \n\t1\nx:y\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := collect(text, "package", "size")
		if err != nil {
			return
		}
		var again strings.Builder
		for _, s := range got {
			again.WriteString("other: x\n")
			for name, value := range s {
				again.WriteString(name + ": " + strings.ReplaceAll(value, "\n", "\n ") + "\n")
			}
			again.WriteString("\n")
		}
		back, err := collect(again.String(), "package", "size")
		if err != nil || len(back) != len(got) {
			t.Fatalf("%q gives %q, which reads back as %q, %v", text, got, back, err)
		}
		for i := range got {
			if !maps.Equal(got[i], back[i]) {
				t.Errorf("%q gives %q, which reads back as %q", text, got[i], back[i])
			}
		}
	})
}
