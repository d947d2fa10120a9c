package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
)

// longestInventory is how large a file for --for may be, in bytes: a thousand
// machines have some 20 MB.
const longestInventory = 256 << 20

// readModaliases returns the modaliases of all machines in a file: JSON
// objects or lists of them, one after the other, as machine show --json prints
// them. Wherever in them a field "modaliases" is, it counts.
func readModaliases(name string) ([]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found := map[string]bool{}
	d := json.NewDecoder(io.LimitReader(f, longestInventory))
	for {
		var v any
		err := d.Decode(&v)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		collectModaliases(v, found)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("reading %s: there is no machine with modaliases in it", name)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// collectModaliases adds the modaliases in a value and in what lies below it.
func collectModaliases(v any, found map[string]bool) {
	switch v := v.(type) {
	case []any:
		for _, below := range v {
			collectModaliases(below, found)
		}
	case map[string]any:
		list, _ := v["modaliases"].([]any)
		for _, alias := range list {
			if text, ok := alias.(string); ok {
				found[text] = true
			}
		}
		for _, below := range v {
			collectModaliases(below, found)
		}
	}
}
