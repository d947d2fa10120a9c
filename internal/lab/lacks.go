package lab

import "testing"

// Lacks skips the test because the kernel of this machine cannot do what it is
// about: what, as in "device mapper". It is the one skip that the laboratory
// accepts, since no package can be installed for it; make e2e-root shows it,
// and scripts/vm runs the test on another kernel.
func Lacks(t testing.TB, what string) {
	t.Helper()
	t.Skipf("the kernel lacks %s", what)
}
