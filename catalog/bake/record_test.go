package bake

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"slipcast/image"
)

// Two digests.
const (
	allZeros = "0000000000000000000000000000000000000000000000000000000000000000"
	allOnes  = "1111111111111111111111111111111111111111111111111111111111111111"
)

const recordForm = `{"schema":1,"name":"room","version":"2","digest":"DIGEST","parent":"PARENT","bundles":["PARENT"]}` + "\n"

func recordText() string {
	return strings.NewReplacer("DIGEST", allOnes, "PARENT", allZeros).Replace(recordForm)
}

// A record has what docs/bundles.md says, and no parameters, which may be secrets.
func TestRecord(t *testing.T) {
	recipe := &Recipe{Schema: 1, Parent: allZeros, Bundles: []Ingredient{{Digest: allZeros, Params: map[string]string{"key": "topsecret"}}}}
	r := NewRecord(recipe, "room", "2", allOnes)
	p, err := r.Encode()
	if err != nil || string(p) != recordText() {
		t.Fatalf("got %s, %v, want %s", p, err, recordText())
	}
	got, err := DecodeRecord(p)
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, %v, want %+v", got, err, r)
	}
	var digest image.Digest
	for i := range digest {
		digest[i] = 0x11
	}
	for _, tt := range []struct {
		digest image.Digest
		parent string
		want   bool
	}{{digest, allZeros, true}, {digest, allOnes, false}, {image.Digest{}, allZeros, false}} {
		if got := r.Of(tt.digest, image.Origin{Parent: tt.parent}); got != tt.want {
			t.Errorf("%v of %s: got %v, want %v", tt.digest, tt.parent, got, tt.want)
		}
	}
}

// What is no record is refused.
func TestRecordRefused(t *testing.T) {
	good := recordText()
	for name, text := range map[string]string{
		"nothing":           "",
		"cut short":         good[:len(good)-3],
		"something behind":  good + "{}",
		"another schema":    strings.Replace(good, `"schema":1`, `"schema":2`, 1),
		"a key more":        strings.Replace(good, `"schema":1`, `"schema":1,"x":1`, 1),
		"no name":           strings.Replace(good, `"name":"room"`, `"name":""`, 1),
		"no version":        strings.Replace(good, `"version":"2"`, `"version":""`, 1),
		"no bundles":        strings.Replace(good, `["`+allZeros+`"]`, `[]`, 1),
		"a digest too long": strings.Replace(good, allOnes, allOnes+"1", 1),
		"no parent":         strings.Replace(good, `"parent":"`+allZeros, `"parent":"`, 1),
		"capitals":          strings.Replace(good, allOnes, strings.Repeat("A", 64), 1),
		"too large":         good + strings.Repeat(" ", MaxRecord),
	} {
		if r, err := DecodeRecord([]byte(text)); !errors.Is(err, ErrRecord) {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
}

// Whatever is taken for a record says the same when it is written again.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(recordText()))
	f.Fuzz(func(t *testing.T, p []byte) {
		r, err := DecodeRecord(p)
		if err != nil {
			return
		}
		text, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeRecord(text)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q became %+v, %v, want %+v", text, again, err, r)
		}
		if len(bytes.TrimSpace(p)) > MaxRecord {
			t.Errorf("%d bytes were taken", len(p))
		}
	})
}
