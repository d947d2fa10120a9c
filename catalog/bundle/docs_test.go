package bundle

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// specification returns docs/bundles.md.
func specification(t *testing.T) string {
	t.Helper()
	p, err := os.ReadFile("../../docs/bundles.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// The tables of section 5 have the keys of the types in manifest.go, in their
// order.
func TestManifestTables(t *testing.T) {
	doc := specification(t)
	for _, v := range []any{
		Manifest{}, Header{}, Reference{}, From{}, Detect{}, Param{}, Needs{}, Payload{}, Overlay{}, Entry{}, Xattr{}, Package{},
		Line{}, Ini{}, Run{}, Script{}, File{},
	} {
		typ := reflect.TypeOf(v)
		_, rest, ok := strings.Cut(doc, "\n**"+typ.Name()+"**")
		if !ok {
			t.Errorf("section 5 has no table of %s", typ.Name())
			continue
		}
		table, _, _ := strings.Cut(rest, "\n**")
		table, _, _ = strings.Cut(table, "\n#")
		var got []string
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\|").FindAllStringSubmatch(table, -1) {
			got = append(got, m[1])
		}
		if want := keysOf(typ); !slices.Equal(got, want) {
			t.Errorf("section 5 has of %s the keys\n%v, want\n%v", typ.Name(), got, want)
		}
	}
}

// keysOf returns the keys of a type in JSON, without those that it has from
// Header.
func keysOf(typ reflect.Type) []string {
	var keys []string
	for i := range typ.NumField() {
		if f := typ.Field(i); !f.Anonymous {
			key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if options != "omitempty" && options != "omitzero" {
				key += " is written when it is empty"
			}
			keys = append(keys, key)
		}
	}
	return keys
}

// vector returns the code behind a word of section 4.
func vector(t *testing.T, doc, word string) string {
	t.Helper()
	_, rest, ok := strings.Cut(doc, word+"\n\n```\n")
	text, _, end := strings.Cut(rest, "```\n")
	if !ok || !end {
		t.Fatalf("there is no vector behind %q", word)
	}
	return text
}

// The vectors of section 4 are what this package makes.
func TestVectors(t *testing.T) {
	doc := specification(t)
	raw := vector(t, doc, "Vector 1, a manifest:")
	m, err := DecodeManifest([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if got := encoded(t, m); got != raw {
		t.Errorf("encoded again:\n%s, want\n%s", got, raw)
	}
	if got, want := digestOf(raw)+"\n", vector(t, doc, "Its digest:"); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	stream := member(manifestName, raw) + member("data/0", "hello\n") + end
	if got, want := digestOf(stream)+"\n", vector(t, doc, "The SHA-256 of the tar stream of that bundle, whose one file holds `hello` and a line feed:"); got != want {
		t.Errorf("stream %s, want %s", got, want)
	}
	if err := check(t, seekable(t, stream)); err != nil {
		t.Error(err)
	}
	big := digestOf(string(tarHeader("data/0", 1<<33))) + "\n"
	if want := vector(t, doc, "Vector 2, the SHA-256 of the 1536 bytes of the header of `data/0` with 8 GiB (8589934592 bytes):"); big != want {
		t.Errorf("header %s, want %s", big, want)
	}
}
