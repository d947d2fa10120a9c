package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipcast/internal/lab"
)

// labSlow is a rate at which 12 MiB take two seconds, so that something can
// happen in the middle.
const labSlow = "50mbit"

// A receiver that comes in the middle gets what it missed.
func TestRootNetLate(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "3"), newLabNoise(t, 18), labNew(t, 3)
	s := n.send(x.image, "--wait", "2", "--rate", labSlow)
	first, second := n.receive(1, targets[0]), n.receive(2, targets[1])
	first.awaitWritten(x.size / 4)
	late := n.receive(3, targets[2])
	for i, r := range []*labProcess{first, second, late} {
		r.result("received")
		x.want(t, targets[i])
	}
	sent := s.result("sent")
	ratio := sent["wire_ratio"].(float64)
	t.Logf("wire / image %.3f", ratio)
	if ratio < 1.2 || ratio > 1.9 || labNumber(t, sent, "fetched_bytes") > 0 {
		t.Errorf("wire / image %.3f, %v bytes by HTTPS; want part of an image more than one, and no HTTPS", ratio, sent["fetched_bytes"])
	}
}

// labChanged copies the disk of x and changes some of its chunks.
func (x labNoise) changed(t testing.TB, chunks ...int64) string {
	t.Helper()
	target := lab.File(t, 0)
	lab.Run(t, "cp", x.raw, target)
	f, err := os.OpenFile(target, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, c := range chunks {
		if _, err := f.WriteAt([]byte("not what it was"), c*mib+1000); err != nil {
			t.Fatal(err)
		}
	}
	return target
}

// Receivers with --delta are sent the union of what they lack, once.
func TestRootNetDelta(t *testing.T) {
	t.Parallel()
	n, x := newLabNet(t, "--receivers", "4"), newLabNoise(t, 16)
	targets := []string{x.changed(t, 1, 2, 3, 9), x.changed(t, 3, 9, 10), x.changed(t, 1, 2, 3, 9, 10), x.changed(t)}
	lacked := []int64{4, 3, 5, 0}
	var all []*labProcess
	for i, target := range targets {
		all = append(all, n.receive(i+1, target, "--delta"))
	}
	before := n.wire()
	s := n.send(x.image, "--wait", "4")
	for i, r := range all {
		o := r.result("received")
		x.want(t, targets[i])
		if got := labNumber(t, o, "chunks") - labNumber(t, o, "kept_chunks"); got != lacked[i] {
			t.Errorf("receiver %d took %d chunks, want %d", i+1, got, lacked[i])
		}
	}
	s.want(exitDone)
	// Discovery, TLS, the preface, and what is acknowledged: about 100 KB for four.
	const union, others = 5 * mib, 256 << 10
	wire := n.wire() - before
	t.Logf("%d bytes on the wire for a union of %d: %.3f", wire, union, float64(wire)/union)
	if wire > union*106/100+others {
		t.Errorf("%d bytes on the wire, want at most 1.06 times %d and %d", wire, union, others)
	}
}

// A receiver that is killed in the middle goes on where it was when it is
// started again, on a device and on a file.
func TestRootNetKilledReceiver(t *testing.T) {
	t.Parallel()
	n, x := newLabNet(t, "--receivers", "3"), newLabNoise(t, 12)
	files := []string{labTarget(t, x.size), labTarget(t, x.size), labNew(t, 1)[0]}
	targets := []string{lab.Loop(t, files[0], 512), files[1], files[2]}
	s := n.send(x.image, "--wait", "3", "--rate", labSlow)
	third := n.receive(3, targets[2])
	killed := []*labProcess{n.receive(1, targets[0]), n.receive(2, targets[1])}
	before := labWritten(killed[1].cmd.Process.Pid)
	for i, p := range killed {
		// A file is made of zeros first.
		p.awaitWritten(before + x.size/2 + int64(i)*mib)
		p.kill()
		killed[i] = n.receive(i+1, targets[i])
	}
	for i, r := range append(killed, third) {
		o := r.result("received")
		x.want(t, files[i])
		kept, chunks := labNumber(t, o, "kept_chunks"), labNumber(t, o, "chunks")
		if resumed := i < 2; o["resumed"] != resumed || (kept > 2) != resumed {
			t.Errorf("receiver %d: resumed is %v, %d of %d chunks kept", i+1, o["resumed"], kept, chunks)
		}
	}
	sent := s.result("sent")
	for _, r := range sent["receivers"].([]any) {
		r := r.(map[string]any)
		if all := labNumber(t, r, "lacked") == 12; all != (r["name"] == "pc3") {
			t.Errorf("in the end %v lacked %v frames", r["name"], r["lacked"])
		}
	}
}

// Receivers that are killed at any time do not disturb the others; the sender
// names them.
func TestRootNetKilledAtRandom(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "6"), newLabNoise(t, 12), labNew(t, 6)
	rng := rand.New(rand.NewPCG(3, 3))
	s := n.send(x.image, "--wait", "6", "--rate", labSlow)
	var all []*labProcess
	for i, target := range targets {
		all = append(all, n.receive(i+1, target))
	}
	s.await("receivers", func(o map[string]any) bool { return o["state"] == "sending" })
	order := rng.Perm(6)
	for range 3 {
		<-time.After(time.Duration(rng.Int64N(int64(300 * time.Millisecond))))
		all[order[0]].kill()
		order = order[1:]
	}
	for _, i := range order {
		all[i].result("received")
		x.want(t, targets[i])
	}
	s.wantError(exitPart, "3 of 6 receivers failed")
	o := s.find("error", nil)
	for i := range all {
		named := strings.Contains(fmt.Sprint(o["message"]), fmt.Sprintf("pc%d (", i+1))
		if killed := all[i].cmd.ProcessState.ExitCode() == -1; named != killed {
			t.Errorf("pc%d was killed: %v, is named: %v in %q", i+1, killed, named, o["message"])
		}
	}
}

// When a sender is killed and started again, its receivers go on. Nothing is
// written twice.
func TestRootNetKilledSender(t *testing.T) {
	t.Parallel()
	n, x, targets := newLabNet(t, "--receivers", "2"), newLabNoise(t, 12), labNew(t, 2)
	s := n.send(x.image, "--wait", "2", "--rate", labSlow)
	all := []*labProcess{n.receive(1, targets[0]), n.receive(2, targets[1])}
	all[0].awaitWritten(x.size / 2)
	s.kill()
	s = n.send(x.image, "--wait", "2", "--rate", labSlow)
	for i, r := range all {
		o := r.result("received")
		x.want(t, targets[i])
		const marks = 64 << 10 // the vital bytes, twice
		if got := labNumber(t, o, "written_bytes"); got < x.size || got > x.size+marks {
			t.Errorf("receiver %d wrote %d bytes, want %d and at most %d more", i+1, got, x.size, marks)
		}
	}
	for _, r := range s.result("sent")["receivers"].([]any) {
		r := r.(map[string]any)
		if lacked := labNumber(t, r, "lacked"); lacked < 1 || lacked > 8 || lacked != labNumber(t, r, "done") {
			t.Errorf("the second sender had %v of %v frames for %v, want about half of 12", r["done"], r["lacked"], r["name"])
		}
	}
}

// Who is interrupted ends at once. No half of a disk looks like one.
func TestRootNetInterrupted(t *testing.T) {
	t.Parallel()
	n := newLabNet(t, "--receivers", "3")
	image, _ := labNetDisk(t)
	files := []string{labTarget(t, 72*mib), labTarget(t, 72*mib), labNew(t, 1)[0]}
	targets := []string{lab.Loop(t, files[0], 512), lab.Loop(t, files[1], 512), files[2]}
	s := n.send(image, "--wait", "3", "--rate", "20mbit")
	var all []*labProcess
	for i, target := range targets {
		all = append(all, n.receive(i+1, target))
	}
	all[0].awaitWritten(6 * mib)
	for _, p := range []*labProcess{all[0], s, all[1], all[2]} {
		p.signal(syscall.SIGINT)
		asked := time.Now()
		p.wantError(exitInterrupted, "interrupted")
		if took := time.Since(asked); took > 5*time.Second {
			t.Errorf("%s took %v to end", p.what, took)
		}
	}
	for _, dev := range targets[:2] {
		if labFindsTable(t, dev) || labProbe(dev, "TYPE") != "" {
			t.Errorf("%s looks like a good disk: %q, %q", dev, labProbe(dev, "PTTYPE"), labProbe(dev, "TYPE"))
		}
	}
	if _, err := os.Stat(files[2]); err == nil {
		t.Errorf("%s is still there, and was made for this", files[2])
	}
}
