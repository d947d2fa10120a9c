package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestReadModaliases(t *testing.T) {
	file := filepath.Join(t.TempDir(), "machines.json")
	text := `{"type": "machine", "inventory": {"modaliases": ["pci:b", "pci:a"]}}
		[{"modaliases": ["usb:c", 7]}, {"modaliases": "none"}, null]
		{"machines": [{"inventory": {"modaliases": ["pci:a"]}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readModaliases(file)
	if want := []string{"pci:a", "pci:b", "usb:c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("readModaliases = %q, %v, want %q", got, err, want)
	}
	for _, text := range []string{"", "{}", "{", `{"modaliases": ["a"]} x`} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readModaliases(file); err == nil {
			t.Errorf("readModaliases of %q = %q, want an error", text, got)
		}
	}
}
