package condition

import (
	"fmt"
	"testing"
)

const everyday = `distro() == "debian" && within("deb", pkg("openssl"), ">=3.0 <3.0.15-1~deb12u1")`

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := CompileBool(everyday); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerdict(b *testing.B) {
	c, err := CompileBool(everyday)
	if err != nil {
		b.Fatal(err)
	}
	f := fake{"distro": "debian", "pkg": "3.0.14-1~deb12u1"}
	for b.Loop() {
		if v, answers := c.Verdict(b.Context(), f); v != Yes {
			b.Fatal(v, answers)
		}
	}
}

// BenchmarkWorst is what the bounds of the language come to.
func BenchmarkWorst(b *testing.B) {
	for i, source := range worst() {
		c, err := CompileBool(source)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint(i), func(b *testing.B) {
			for b.Loop() {
				if v, answers := c.Verdict(b.Context(), worstFacts(maxText)); v != No {
					b.Fatalf("%v: %.100v", v, answers)
				}
			}
		})
	}
}
