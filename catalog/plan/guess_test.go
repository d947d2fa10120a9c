package plan

import (
	"strings"
	"testing"
)

func TestGuess(t *testing.T) {
	tests := []struct {
		name, bundles string
		names, have   string
		want          string
	}{
		{"a way from nothing", reader, "reader", "", "reader@9.3.3-1 reader@9.3-1 reader@9.2-1 reader@9.0-1 vcredist@14-1"},
		{"a way from what is there", reader, "reader", "reader@9.2-1", "reader@9.3.3-1 reader@9.3-1 vcredist@14-1"},
		{"what it needs is there", reader, "reader", "reader@9.2-1 vcredist@14-1", "reader@9.3.3-1 reader@9.3-1"},
		{"it is there", reader, "reader", "reader@9.3.3-1", ""},
		{"a version", reader, "reader@9.2", "reader@9.1-1", "reader@9.2-1"},
		{"an old release", "x@1-1\nx@1-2\nx@2-1", "x@1-1", "", "x@1-1"},
		{"the last release of a version", "x@1-1\nx@1-2\nx@2-1", "x@1", "", "x@1-2"},
		{"the order of the names", "x@1-1\ny@1-1", "y x y", "", "y@1-1 x@1-1"},
		{"all, the most severe first", "a@1-1\nx@1-1 critical\ny@2-1 needs:a", "", "", "x@1-1 a@1-1 y@2-1"},
		{"tracks", "browser@130-1\nbrowser/esr@115-1\nbrowser/esr@128-1", "", "", "browser@130-1 browser/esr@128-1"},
		{"a circle", "x@1-1 needs:y\ny@1-1 needs:x", "x", "", "x@1-1 y@1-1"},
		{"what the catalog has not", "x@1-1 needs:y", "z x@7 x", "", "x@1-1"},
		{"from nothing or a version", "x@1-1\nx@2-1 onto:=1 fresh", "x", "", "x@2-1"},
		{"from nothing or a version that is not there", "x@1-1\nx@2-1 onto:=1\nx@3-1 onto:=2 fresh", "x", "x@1-1", "x@3-1 x@2-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Compile(some(tt.bundles))
			if err != nil {
				t.Fatal(err)
			}
			have := map[string]bool{}
			for _, id := range strings.Fields(tt.have) {
				have[id] = true
			}
			if got := ids(c.Guess(strings.Fields(tt.names), have)); got != tt.want {
				t.Errorf("Guess(%s) with %s = %s, want %s", tt.names, tt.have, got, tt.want)
			}
		})
	}
}

// What is recalled, or faulty, is no guess.
func TestGuessRecalled(t *testing.T) {
	list := some("x@1-1\nx@2-1\nx@3-1 needs:y>=z")
	list = append(list, some("y@1-1")...)
	list[1].Recalled = "it breaks printing"
	c, err := Compile(list)
	if err != nil {
		t.Fatal(err)
	}
	if got := ids(c.Guess([]string{"x"}, nil)); got != "x@1-1" {
		t.Errorf("Guess = %s, want x@1-1: x@2 is recalled and x@3 faulty", got)
	}
}

func ids(list []Bundle) string {
	var words []string
	for i := range list {
		words = append(words, list[i].ID())
	}
	return strings.Join(words, " ")
}
