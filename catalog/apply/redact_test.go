package apply

import (
	"testing"

	"slipcast/catalog/bundle"
)

func TestRedacted(t *testing.T) {
	list := []bundle.Param{{Name: "open"}, {Name: "a", Secret: true}, {Name: "b", Secret: true}, {Name: "none", Secret: true}, {Name: "key", Secret: true}}
	values := map[string]string{"open": "word", "a": "hunter", "b": "hunter2", "key": "-- begin\n  line one\n\n-- end\n"}
	var got string
	log := redacted(func(line string) { got = line }, list, values)
	for line, want := range map[string]string{
		"word for word":        "word for word",
		"key=hunter2hunter":    "key=(secret)(secret)",
		"line one of -- begin": "(secret) of (secret)",
		"":                     "",
	} {
		if log(line); got != want {
			t.Errorf("%q is logged as %q, want %q", line, got, want)
		}
	}
	if redacted(nil, list, values) != nil {
		t.Error("without a log there is one")
	}
}
