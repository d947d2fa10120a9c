package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipcast/internal/lab"
)

// labPatience is how long a test waits for anything in a labNet.
const labPatience = 90 * time.Second

// A labNet is a network of namespaces, see scripts/lab-net. Its machines run
// the real program.
type labNet struct {
	t       testing.TB
	name    string
	program string
}

// newLabNet builds a network that ends with the test, and all that runs there
// with it.
func newLabNet(t testing.TB, flags ...string) *labNet {
	t.Helper()
	lab.Root(t)
	lab.Tools(t, "ip", "tc", "nft", "ethtool", "unshare")
	n := &labNet{t: t, name: "t" + strings.ToLower(rand.Text()[:7]), program: labOnce(t)}
	n.do("up", flags...)
	t.Cleanup(func() { n.do("down") })
	return n
}

// labOnce builds the program, once for all networks, beside the program of
// this test, which go test removes.
func labOnce(t testing.TB) string {
	t.Helper()
	path, err := labBuilt()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var labBuilt = sync.OnceValues(func() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(self), "slipcast-in-lab")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// do runs lab-net.
func (n *labNet) do(verb string, args ...string) string {
	n.t.Helper()
	return lab.Run(n.t, "../../scripts/lab-net", append([]string{"--name", n.name, verb}, args...)...)
}

// exec runs a program on a machine.
func (n *labNet) exec(where string, args ...string) string {
	n.t.Helper()
	return n.do("exec", append([]string{where}, args...)...)
}

// in returns n for a part of its test.
func (n *labNet) in(t testing.TB) *labNet {
	c := *n
	c.t = t
	return &c
}

// labRate is what a sender puts on the wire of a network at 100 Mbit/s.
const labRate = "95mbit"

// send starts a sender of the session "room".
func (n *labNet) send(image string, flags ...string) *labProcess {
	n.t.Helper()
	return n.sendFrom("s", image, flags...)
}

func (n *labNet) sendFrom(where, image string, flags ...string) *labProcess {
	n.t.Helper()
	args := []string{"send", image, "--json", "--interface", "eth0", "--name", "room", "--rate", labRate}
	return n.start(where, append(args, flags...)...)
}

// receive starts receiver i, whose name is pc and its number.
func (n *labNet) receive(i int, target string, flags ...string) *labProcess {
	n.t.Helper()
	args := []string{"receive", target, "--json", "--yes", "--interface", "eth0", "--session", "room"}
	return n.start(fmt.Sprint(i), append(args, flags...)...)
}

// A labProcess is slipcast at work on a machine of a labNet.
type labProcess struct {
	t     testing.TB
	what  string
	cmd   *exec.Cmd
	began time.Time
	ended chan struct{} // closed then

	mu      sync.Mutex
	rest    []byte           // of a line
	log     []string         // lines
	objects []map[string]any // that it printed to either stream, with "at", the time.Time
}

// start starts slipcast on a machine with a hostname of its own.
func (n *labNet) start(where string, args ...string) *labProcess {
	n.t.Helper()
	host := map[bool]string{true: "srv", false: "pc" + where}[where == "s"]
	words := []string{"--name", n.name, "exec", where, "unshare", "--uts", "sh", "-c",
		`echo "$0" >/proc/sys/kernel/hostname && exec "$@"`, host, n.program}
	p := &labProcess{
		t: n.t, what: host + ": slipcast " + args[0], began: time.Now(), ended: make(chan struct{}),
		cmd: exec.Command("../../scripts/lab-net", append(words, args...)...),
	}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { // until the laboratory is taken down
		defer close(p.ended)
		_ = p.cmd.Wait() // its exit code is looked at where it matters
	}()
	n.t.Cleanup(p.tell)
	return p
}

// tell ends the process and, if the test has failed, shows what it said.
func (p *labProcess) tell() {
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.ended
	if p.t.Failed() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.t.Logf("%s:\n%s", p.what, strings.Join(p.log[max(0, len(p.log)-12):], "\n"))
	}
}

// Write implements io.Writer: it takes what the process prints.
func (p *labProcess) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, text...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(text), nil
		}
		p.rest = rest
		p.log = append(p.log, fmt.Sprintf("%8.3f %s", time.Since(p.began).Seconds(), line))
		o := map[string]any{}
		if json.Unmarshal(line, &o) != nil {
			o["type"], o["text"] = "text", string(line)
		}
		o["at"] = time.Now()
		p.objects = append(p.objects, o)
	}
}

// find returns the first object of a kind that holds, nil if there is none.
// A nil holds takes any.
func (p *labProcess) find(kind string, holds func(o map[string]any) bool) map[string]any {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, o := range p.objects {
		if o["type"] == kind && (holds == nil || holds(o)) {
			return o
		}
	}
	return nil
}

// await waits until the process has printed such an object.
func (p *labProcess) await(kind string, holds func(o map[string]any) bool) (found map[string]any) {
	p.t.Helper()
	inNet().until(p.t, p.what+" prints "+kind, func() bool {
		over := p.isOver()
		found = p.find(kind, holds)
		return found != nil || over
	})
	if found == nil {
		p.t.Fatalf("%s ended without having printed a certain %q", p.what, kind)
	}
	return found
}

func (p *labProcess) isOver() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// awaitText waits for an object of a kind whose text holds what.
func (p *labProcess) awaitText(kind, what string) map[string]any {
	p.t.Helper()
	return p.await(kind, func(o map[string]any) bool { return strings.Contains(fmt.Sprint(o["text"]), what) })
}

// want waits for the end, expects an exit code, and returns the last object:
// the result, or the error.
func (p *labProcess) want(code int) map[string]any {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(labPatience):
		p.t.Fatalf("%s does not end", p.what)
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("%s: exit code %d, want %d", p.what, got, code)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.objects) == 0 {
		p.t.Fatalf("%s printed nothing", p.what)
	}
	return p.objects[len(p.objects)-1]
}

// result waits for a good end and returns the object of that kind.
func (p *labProcess) result(kind string) map[string]any {
	p.t.Helper()
	p.want(exitDone)
	return p.await(kind, nil)
}

// wantError waits for the end with an exit code and an error in which all of
// texts are.
func (p *labProcess) wantError(code int, texts ...string) {
	p.t.Helper()
	p.want(code)
	o := p.await("error", nil)
	for _, text := range texts {
		if message := fmt.Sprint(o["message"]); !strings.Contains(message, text) {
			p.t.Errorf("%s: error %q, want %q in it", p.what, message, text)
		}
	}
	if got := labNumber(p.t, o, "code"); got != int64(code) {
		p.t.Errorf("%s: code %d in the error, want %d", p.what, got, code)
	}
}

// signal sends a signal.
func (p *labProcess) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.what, err)
	}
}

// kill ends the process without a word to anyone.
func (p *labProcess) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	<-p.ended
}

// awaitWritten waits until a receiver has written n bytes.
func (p *labProcess) awaitWritten(n int64) {
	p.t.Helper()
	inNet().until(p.t, fmt.Sprintf("%s writes %d bytes", p.what, n), func() bool {
		if p.isOver() {
			p.t.Fatalf("%s ended before it had written %d bytes", p.what, n)
		}
		return labWritten(p.cmd.Process.Pid) >= n
	})
}

// A labWait is how often, and how long, a test looks whether something has
// come true.
type labWait struct{ every, most time.Duration }

// inNet is for a labNet.
func inNet() labWait { return labWait{10 * time.Millisecond, labPatience} }

// until waits until something has come true.
func (w labWait) until(t testing.TB, what string, true func() bool) {
	t.Helper()
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	late := time.After(w.most)
	for !true() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within %v", what, w.most)
		}
	}
}

// A labNoise is a disk without a table whose bytes do not compress, and its
// image.
type labNoise struct {
	raw, image string
	size       int64
}

// newLabNoise makes one of so many MiB, each of which is a chunk.
func newLabNoise(t testing.TB, n int64) labNoise {
	t.Helper()
	dir := t.TempDir()
	x := labNoise{filepath.Join(dir, "noise.raw"), filepath.Join(dir, "noise.img.zst"), n * mib}
	if err := os.WriteFile(x.raw, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	labRandom(t, x.raw, x.size)
	lab.Run(t, labOnce(t), "capture", "--quiet", "--level", "fast", x.raw, x.image)
	return x
}

// want fails the test unless the target holds the same.
func (x labNoise) want(t testing.TB, target string) {
	t.Helper()
	if out, err := exec.Command("cmp", x.raw, target).CombinedOutput(); err != nil {
		t.Errorf("the target is not what was sent: %v: %s", err, out)
	}
}

// labNew returns the paths of n targets that do not exist.
func labNew(t testing.TB, n int) []string {
	t.Helper()
	dir := t.TempDir()
	var targets []string
	for i := range n {
		targets = append(targets, filepath.Join(dir, fmt.Sprintf("target-%d.raw", i+1)))
	}
	return targets
}

// A labRoom is a session in a network of its own.
type labRoom struct {
	*labNet
	x       labNoise
	sender  *labProcess
	all     []*labProcess // receivers 1 and up
	targets []string
}

// room starts to send x to new targets of receivers 1 to count as soon as all
// of them are there.
func (n *labNet) room(x labNoise, count int, flags ...string) *labRoom {
	n.t.Helper()
	r := &labRoom{labNet: n, x: x, targets: labNew(n.t, count)}
	for i, target := range r.targets {
		r.all = append(r.all, n.receive(i+1, target))
	}
	r.sender = n.send(x.image, append([]string{"--wait", fmt.Sprint(count)}, flags...)...)
	return r
}

// end waits until all receivers have ended, well, and the sender has with an
// exit code, and returns what they print then.
func (r *labRoom) end(code int) (sent map[string]any, received []map[string]any) {
	r.t.Helper()
	for i, p := range r.all {
		received = append(received, p.result("received"))
		r.x.want(r.t, r.targets[i])
	}
	r.sender.want(code)
	return r.sender.await("sent", nil), received
}
