package pxe

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// patience is how long a test waits for what takes a moment.
const patience = 20 * time.Second

// serveMode is set in the process that is the server of a test: a network
// namespace is one of whole processes for the goroutines of Go.
const serveMode = "SLIPCAST_PXE_SERVE"

func TestMain(m *testing.M) {
	if mode := os.Getenv(serveMode); mode != "" {
		os.Exit(serveAs(Mode(mode)))
	}
	os.Exit(m.Run())
}

// serveAs serves the folder that is given as an argument, on net0.
func serveAs(mode Mode) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s := &Server{
		Interface: "net0", Address: netip.MustParsePrefix("10.83.0.1/24"), Folder: os.Args[1], State: os.Args[1], Mode: mode,
		Pool:     Pool{netip.MustParseAddr("10.83.0.200"), netip.MustParseAddr("10.83.0.201")},
		Director: &fixedDirector{decision: Decision{Verdict: Agent}, files: []File{{"etc/slipcast/ticket.json", []byte("{}")}}},
	}
	if mode == "check" {
		s.Mode = Proxy
		for _, f := range s.Check(ctx) {
			fmt.Printf("%s: %s\n", f.Severity, f.Text)
		}
		return 0
	}
	if err := s.Serve(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// A netns is a network namespace: a machine.
type netns string

// newNetns makes a network namespace that ends with the test, which is
// skipped unless it runs as root.
func newNetns(t *testing.T) netns {
	t.Helper()
	ns := netns("slipcast-" + rand.Text()[:10])
	lab.Run(t, "ip", "netns", "add", string(ns))
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", string(ns)).Run() })
	ns.ip(t, "link", "set", "lo", "up")
	return ns
}

func (ns netns) ip(t *testing.T, args ...string) {
	t.Helper()
	lab.Run(t, "ip", append([]string{"-n", string(ns)}, args...)...)
}

// command returns a program that runs in the namespace.
func (ns netns) command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", string(ns), name}, args...)...)
}

// run calls f with the namespace as that of its thread. f may end the test.
func (ns netns) run(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		fd, err := unix.Open("/run/netns/"+string(ns), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
	if t.Failed() {
		t.FailNow()
	}
}

// newRoom makes a switch with three machines, each with an interface net0:
// ours with 10.83.0.1, one for a DHCP server with 10.83.0.2, which is the
// switch as well, and one that boots, with 10.83.0.7.
func newRoom(t *testing.T) (server, site, machine netns) {
	t.Helper()
	lab.Root(t)
	lab.Tools(t, "ip", "dnsmasq", "curl")
	server, site, machine = newNetns(t), newNetns(t), newNetns(t)
	site.ip(t, "link", "add", "net0", "type", "bridge")
	site.ip(t, "addr", "add", "10.83.0.2/24", "dev", "net0")
	site.ip(t, "link", "set", "net0", "up")
	for i, ns := range []netns{server, machine} {
		port := fmt.Sprintf("port%d", i)
		ns.ip(t, "link", "add", "net0", "type", "veth", "peer", "name", port, "netns", string(site))
		ns.ip(t, "addr", "add", []string{"10.83.0.1/24", "10.83.0.7/24"}[i], "dev", "net0")
		ns.ip(t, "link", "set", "net0", "up")
		site.ip(t, "link", "set", port, "master", "net0", "up")
	}
	machine.reach(t, "10.83.0.1:9")
	return server, site, machine
}

// reach waits until somebody at addr refuses a connection: the wires are up.
func (ns netns) reach(t *testing.T, addr string) {
	t.Helper()
	ns.run(t, func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for ctx.Err() == nil {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp4", addr)
			if errors.Is(err, unix.ECONNREFUSED) {
				return
			}
			if err == nil {
				conn.Close()
			}
		}
		t.Errorf("%s is not reached after %v", addr, patience)
	})
}

// start starts a program in the namespace, which is interrupted at the end of
// the test.
func (ns netns) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		err := cmd.Wait()
		if text, _ := os.ReadFile(out.Name()); t.Failed() || err != nil && strings.Contains(cmd.String(), ".test") {
			t.Errorf("%s: %v\n%s", cmd, err, text)
		}
	})
}

// serve starts the server in the namespace, and waits until it answers.
func (ns netns) serve(t *testing.T, mode Mode, folder string) {
	t.Helper()
	cmd := ns.command(os.Args[0], folder)
	cmd.Env = append(os.Environ(), serveMode+"="+string(mode))
	ns.start(t, cmd)
	ns.await(t, "tcp", 80)
}

// await waits until somebody listens on a port in the namespace.
func (ns netns) await(t *testing.T, network string, port int) {
	t.Helper()
	end := time.Now().Add(patience)
	for time.Now().Before(end) {
		out, err := ns.command("cat", "/proc/net/"+network).Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(strings.NewReader(string(out)))
		for lines.Scan() {
			if f := strings.Fields(lines.Text()); len(f) > 1 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				return
			}
		}
	}
	t.Fatalf("nobody listens on %s port %d after %v", network, port, patience)
}
