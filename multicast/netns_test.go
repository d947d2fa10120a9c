package multicast

import (
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// A netns is a network namespace: a machine with nothing but a loopback
// interface, which is up.
type netns string

// newNetns makes a network namespace that ends with the test, which is skipped
// unless it runs as root.
func newNetns(t testing.TB) netns {
	t.Helper()
	lab.Root(t)
	lab.Tools(t, "ip")
	ns := netns("slipcast-" + rand.Text()[:10])
	lab.Run(t, "ip", "netns", "add", string(ns))
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", string(ns)).Run() })
	ns.ip(t, "link", "set", "lo", "up")
	return ns
}

// ip runs ip(8) in the namespace.
func (ns netns) ip(t testing.TB, args ...string) {
	t.Helper()
	lab.Run(t, "ip", append([]string{"-n", string(ns)}, args...)...)
}

// sysctl sets a value below /proc/sys in the namespace.
func (ns netns) sysctl(t testing.TB, name, value string) {
	t.Helper()
	ns.run(t, func() {
		// /proc/sys shows the namespace of the thread that opens it.
		if err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0); err != nil {
			t.Error(err)
		}
	})
}

// run calls f with the namespace as that of its thread. The sockets that it
// opens stay in the namespace. f may end the test.
func (ns netns) run(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		fd, err := unix.Open(filepath.Join("/run/netns", string(ns)), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Errorf("namespace %s: %v", ns, err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			t.Errorf("namespace %s: %v", ns, err)
			return
		}
		f()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// iface returns an interface of the namespace.
func (ns netns) iface(t testing.TB, name string) *net.Interface {
	t.Helper()
	var ifi *net.Interface
	ns.run(t, func() {
		var err error
		if ifi, err = net.InterfaceByName(name); err != nil {
			t.Error(err)
		}
	})
	return ifi
}

// newWire makes two namespaces with a wire between their interfaces net0, which
// have the addresses 10.83.0.1 and fd83::1 and, at the other end, 10.83.0.2 and
// fd83::2, and can use them at once.
func newWire(t testing.TB) (a, b netns) {
	t.Helper()
	a, b = newNetns(t), newNetns(t)
	a.ip(t, "link", "add", "net0", "type", "veth", "peer", "name", "net0", "netns", string(b))
	for i, ns := range []netns{a, b} {
		host := string(rune('1' + i))
		ns.ip(t, "addr", "add", "10.83.0."+host+"/24", "dev", "net0")
		ns.ip(t, "addr", "add", "fd83::"+host+"/64", "dev", "net0", "nodad")
	}
	a.up(t)
	b.up(t)
	a.ready(t)
	b.ready(t)
	return a, b
}

// up switches on net0.
func (ns netns) up(t testing.TB) {
	t.Helper()
	ns.ip(t, "link", "set", "net0", "up")
}

// ready waits until net0, whose wire has both ends up, takes multicasts. The
// kernel looks for carriers once a second, and gives IPv6 its routes then.
func (ns netns) ready(t testing.TB) {
	t.Helper()
	ns.until(t, func() bool {
		p, err := os.ReadFile("/proc/thread-self/net/ipv6_route")
		if err != nil {
			t.Error(err)
		}
		for line := range strings.Lines(string(p)) {
			if strings.HasPrefix(line, "ff0000000000") && strings.HasSuffix(line, " net0\n") {
				return true
			}
		}
		return t.Failed()
	})
}

// until waits until a thing of the kernel, which tells no one, is true.
func (ns netns) until(t testing.TB, is func() bool) {
	t.Helper()
	ns.run(t, func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(patience); !is(); {
			select {
			case <-tick.C:
			case <-end:
				t.Errorf("namespace %s: waited for %v", ns, patience)
				return
			}
		}
	})
}
