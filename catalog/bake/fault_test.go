package bake

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"slipcast/catalog/root"
)

// An error is asked for what it wraps on both sides of the way alike.
func TestFault(t *testing.T) {
	for name, kind := range carried() {
		got := carry(t, fmt.Errorf("baking: %w", kind))
		if got.Error() != "baking: "+kind.Error() {
			t.Errorf("%s: the text is %q", name, got)
		}
		for other, is := range carried() {
			if errors.Is(got, is) != errors.Is(kind, is) {
				t.Errorf("%s arrives as %s: %v", name, other, errors.Is(got, is))
			}
		}
		if errors.As(got, new(*root.RefusedError)) {
			t.Errorf("%s arrives as a refused volume", name)
		}
	}
	want := root.RefusedError{Volume: "partition 2 (ntfs)", Reason: root.Suspended, Detail: "Windows is hibernated"}
	sent := want
	sent.Err = errors.New("of the kernel, and part of the detail")
	var got *root.RefusedError
	if err := carry(t, fmt.Errorf("mounting the root: %w", &sent)); !errors.As(err, &got) || *got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if newFault(nil) != nil {
		t.Error("no error is a fault")
	}
}

// carry takes an error from one process to another.
func carry(t *testing.T, err error) error {
	t.Helper()
	text, e := json.Marshal(newFault(err))
	if e != nil {
		t.Fatal(e)
	}
	got := new(fault)
	if err := json.Unmarshal(text, got); err != nil {
		t.Fatal(err)
	}
	return got
}
