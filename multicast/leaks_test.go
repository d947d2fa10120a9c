package multicast

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// checkLeaks fails the test if goroutines of this package or of a web server
// or client run when the test and its other clean-ups are over. It is not for
// tests that run in parallel. Within synctest it is not needed.
func checkLeaks(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		var left []string
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-time.After(time.Millisecond) {
			left = left[:0]
			for id, stack := range goroutines() {
				if before[id] == "" {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return
			}
		}
		slices.Sort(left)
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	})
}

// goroutines returns the stacks of all goroutines of this package and of
// net/http but for those that run tests, by their first lines without the
// state.
func goroutines() map[string]string {
	buf := make([]byte, 1<<20)
	for n := runtime.Stack(buf, true); ; n = runtime.Stack(buf, true) {
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	all := map[string]string{}
	for stack := range strings.SplitSeq(string(buf), "\n\n") {
		ours := strings.Contains(stack, "slipcast/multicast.") || strings.Contains(stack, "net/http.")
		if id, _, ok := strings.Cut(stack, " ["); ok && ours && !strings.Contains(stack, "testing.tRunner(") {
			all[id] = stack
		}
	}
	return all
}

// TestLeaks shows that a goroutine that is left over is seen.
func TestLeaks(t *testing.T) {
	before := goroutines()
	stop := make(chan struct{})
	defer close(stop)
	go func() { <-stop }()
	for id, stack := range goroutines() {
		if before[id] == "" && strings.Contains(stack, "TestLeaks") {
			return
		}
	}
	t.Error("the goroutine of the test is not among those that run")
}
