package condition

import (
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
