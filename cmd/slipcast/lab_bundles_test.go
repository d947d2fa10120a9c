package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"slipcast/agent/wire"
	"slipcast/internal/lab"
)

// Four machines get an image and two bundles at the cost of one transfer; one
// of them keeps no bundles, as an agent of before would. What came is applied
// without being fetched again.
func TestRootServeBundles(t *testing.T) {
	const machines = 4
	s := newLabServer(t, "--receivers", fmt.Sprint(machines))
	var bundles int64
	for _, name := range []string{"reader", "fonts"} {
		path := filepath.Join(t.TempDir(), name+".slb")
		buildTestBundle(t, path, name, "1.0", "")
		bundles += labSize(t, path)
		s.release(path)
	}
	p := s.serve("--gather", "1m")
	rooms := make([]bundleRoom, machines)
	for i := range rooms {
		rooms[i] = bundleRoom{labServer: s, m: s.machine(i + 1), i: i + 1, dir: t.TempDir()}
		rooms[i].m.boot()
	}
	s.command("job", "create", "restore", "--image", "lab", "--all", "--yes", "--multicast", "--apply", "*", "--store", s.store)
	for i := range rooms {
		rooms[i].w = rooms[i].m.boot()
	}
	before := s.sent("s")
	for i := range rooms {
		rooms[i].receive(i > 0)
	}
	for i := range rooms {
		want := map[bool]int64{true: 2}[i > 0]
		if got := labNumber(t, rooms[i].p.result("received"), "bundles"); got != want {
			t.Errorf("machine %d kept %v bundles, want %v", i+1, got, want)
		}
	}
	came := s.sent("s")
	once := labFrames(t, s) + bundles
	t.Logf("the server sent %d bytes for image and bundles of %d to %d machines", came-before, once, machines)
	if most := once + once/10 + 256<<10; came-before > most || came-before < once {
		t.Errorf("the server sent %d bytes for image and bundles of %d, want %d at most", came-before, once, most)
	}
	for i := range rooms[1:] {
		rooms[i+1].apply()
	}
	if got := s.sent("s") - came; got > bundles/2 {
		t.Errorf("the server sent %d bytes to machines that apply what they have, want less than half of the bundles' %d", got, bundles)
	} else {
		t.Logf("the server sent %d bytes to machines that apply what they have", got)
	}
	p.signal(syscall.SIGINT)
	p.want(exitDone)
}

// A bundleRoom is a machine of a labServer with a folder for its bundles.
type bundleRoom struct {
	*labServer
	m   *labMachine
	i   int
	dir string
	w   wire.Welcome
	p   *labProcess
}

// receive takes part in the session of the machine's job, as its agent would.
func (r *bundleRoom) receive(keeps bool) {
	r.t.Helper()
	j := r.w.Job
	if j == nil || j.Session == nil || len(j.Apply) != 1 {
		r.t.Fatalf("machine %d is told %+v, want a job with a session and bundles", r.i, r.w)
	}
	flags := []string{
		"receive", "--json", "--yes", "--digest", j.Digest, "--session", j.Session.Name, "--from", j.Session.From, "--key", j.Session.Key, "--interface", "eth0",
	}
	if keeps {
		flags = append(flags, "--bundles-to", filepath.Join(r.dir, "bundles"))
	}
	r.p = r.start(fmt.Sprint(r.i), append(flags, filepath.Join(r.dir, "target.raw"))...)
}

// apply applies all bundles to a system, as the agent would.
func (r *bundleRoom) apply() {
	r.t.Helper()
	root := filepath.Join(r.dir, "root")
	files := map[string][]byte{"root.json": r.m.root, "proof.json": r.w.Proof, "root/etc/os-release": []byte("ID=debian\nVERSION_ID=12\n"), "root/etc/passwd": nil}
	for name, p := range files {
		path := filepath.Join(r.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, p, 0o644)); err != nil {
			r.t.Fatal(err)
		}
	}
	r.t.Setenv("SLIPCAST_TOKEN", r.m.session)
	r.start(fmt.Sprint(r.i), "catalog", "apply", "--json", "--yes", "--root", root, "--files", filepath.Join(r.dir, "bundles"),
		"--catalog", labHTTPS+"/agent/catalog", "--pin", r.m.pin, "--trust", filepath.Join(r.dir, "root.json"), "--ticket", filepath.Join(r.dir, "proof.json"),
		"--nonce", r.m.hello.Nonce, "--ticket-machine", r.m.hello.Inventory.MAC).want(exitDone)
	for _, name := range []string{"reader", "fonts"} {
		if _, err := os.Stat(filepath.Join(root, "opt", name)); err != nil {
			r.t.Errorf("machine %d: %v", r.i, err)
		}
	}
}

// sent returns how many bytes a machine has put on the wire.
func (n *labNet) sent(where string) int64 {
	n.t.Helper()
	var links []struct {
		Stats struct {
			TX struct {
				Bytes int64 `json:"bytes"`
			} `json:"tx"`
		} `json:"stats64"`
	}
	text := lab.Run(n.t, "ip", "-j", "-s", "-n", n.name+"-"+where, "link", "show", "eth0")
	if err := json.Unmarshal([]byte(text), &links); err != nil || len(links) != 1 {
		n.t.Fatalf("%s: %v", text, err)
	}
	return links[0].Stats.TX.Bytes
}

// labFrames returns the bytes of the frames in the server's store.
func labFrames(t testing.TB, s *labServer) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.store, "frames"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			bytes += labSize(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// labSize returns the length of a file.
func labSize(t testing.TB, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
