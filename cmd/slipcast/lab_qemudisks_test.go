package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"slipcast/agent/wire"
	"slipcast/fleet"
	"slipcast/internal/lab"
)

// A machine with two disks that boots by HTTP: nothing is written unless it is
// clear where to. Then its agent stays, and is given one job after the other.
func TestQEMUDisks(t *testing.T) {
	r := newQEMURoom(t, "--tokenless")
	disks := []string{qemuEmpty(t), qemuEmpty(t)}
	lab.Run(t, "cp", "--sparse=always", r.kit.golden, disks[0])
	// A boot.img brings no seed, so its kernel needs randomness of its own.
	m := r.machine(3, "secureboot", disks, "--http", "--cpu", "qemu64,+rdrand")
	r.unknown(m)
	r.slipcast("machine", "set", m.name, "--loader", "image")
	r.askWhich(m)
	r.captureBack(m)
	r.wipeSecond(m)
	r.wrongDisk(m)
}

// unknown switches on a machine that nobody knows and that has a Debian: it is
// registered, and starts that.
func (r *qemuRoom) unknown(m *qemuMachine) {
	r.t.Helper()
	r.register(m, qemuContactUEFI)
	r.phase("machine is registered, by HTTP boot")
	if got := m.report(); got.host != "golden" || got.security != "yes" {
		r.t.Errorf("%s started %+v, want golden with Secure Boot", m.name, got)
	}
	r.phase("it runs what it had")
	m.kill()
}

// askWhich makes a job for a machine with two disks that both fit. It asks, and
// writes only to the one that is chosen.
func (r *qemuRoom) askWhich(m *qemuMachine) {
	r.t.Helper()
	before := qemuDigests(r.t, m.disks)
	job := r.create("restore", "--image", "debian", "--grow", "--end", "stay", "--yes", m.name)[0]
	m.on()
	took := m.contact()
	r.t.Logf("%s: power-on to contact with boot.img by HTTP: %.1f s", m.name, took.Seconds())
	if took > qemuContactUEFI {
		r.t.Errorf("%s: %.1f s from power-on to contact, want at most %s", m.name, took.Seconds(), qemuContactUEFI)
	}
	m.await("slipcast agent: which disk. 1.*DISK-3-0")
	m.await("slipcast agent: which disk. 2.*DISK-3-1")
	asking := r.awaitJob(job.ID, "asks", func(j *fleet.Job) bool { return j.Status.Asking })
	if got := len(asking.Status.Candidates); got != 2 {
		r.t.Errorf("it asks which of %d disks, want 2", got)
	}
	qemuSame(r.t, m.disks, before, 0, 1)
	r.phase("two disks: it asks")
	r.slipcast("job", "answer", fmt.Sprint(job.ID), "DISK-3-1")
	m.await("slipcast agent: job .* disk vdb, DISK-3-1")
	done := r.awaitState(job.ID, fleet.Done)
	if done.Status.Result != done.Digest || len(done.Status.Notes) > 0 {
		r.t.Errorf("the job has the result %q and the notes %q, want %q and none", done.Status.Result, done.Status.Notes, done.Digest)
	}
	qemuSame(r.t, m.disks, before, 0)
	r.phase("the answer: restored by HTTPS")
}

// captureBack captures the disk that was restored.
func (r *qemuRoom) captureBack(m *qemuMachine) {
	r.t.Helper()
	before := qemuDigests(r.t, m.disks)
	job := r.create("capture", "--image", "clone", "--level", "fast", "--disk", "serial=DISK-3-1", "--end", "stay", m.name)[0]
	done := r.awaitState(job.ID, fleet.Done)
	if want := "clone@1"; done.Status.Result != want {
		r.t.Errorf("captured as %q, want %q", done.Status.Result, want)
	}
	qemuSame(r.t, m.disks, before, 0, 1)
	r.slipcast("verify", "--store", r.kit.store, "clone", m.disks[1])
	r.phase("captured into the store")
}

// wipeSecond wipes the disk that was restored.
func (r *qemuRoom) wipeSecond(m *qemuMachine) {
	r.t.Helper()
	before := qemuDigests(r.t, m.disks)
	job := r.create("wipe", "--disk", "serial=DISK-3-1", "--end", "stay", "--yes", m.name)[0]
	r.awaitState(job.ID, fleet.Done)
	qemuSame(r.t, m.disks, before, 0)
	if got, want := qemuDigest(r.t, m.disks[1]), qemuDigest(r.t, qemuEmpty(r.t)); got != want {
		r.t.Errorf("the wiped disk has the digest %s, want that of zeros, %s", got, want)
	}
	r.phase("wiped")
}

// wrongDisk gives the machine a job for a disk that it does not have.
func (r *qemuRoom) wrongDisk(m *qemuMachine) {
	r.t.Helper()
	before := qemuDigests(r.t, m.disks)
	job := r.create("restore", "--image", "debian", "--disk", "serial=NOPE", "--yes", m.name)[0]
	m.await("slipcast agent: job .* restore failed: .*NOPE")
	failed := r.awaitState(job.ID, fleet.Failed)
	if failed.Error == "" || failed.Kind != wire.Restore {
		r.t.Errorf("the server knows no reason: %+v", failed)
	}
	r.t.Logf("refused: %s", failed.Error)
	qemuSame(r.t, m.disks, before, 0, 1)
	over := time.Now()
	if got := m.report(); got.host != "golden" || r.serve.says("machine asks to boot.*"+m.mac, over, got.at) {
		r.t.Errorf("after a job that failed %s started %+v, want golden without the network", m.name, got)
	}
	r.phase("wrong disk: refused, and it runs what it had")
}

// qemuDigests returns the digests of disks.
func qemuDigests(t *testing.T, disks []string) (list []string) {
	t.Helper()
	for _, disk := range disks {
		list = append(list, qemuDigest(t, disk))
	}
	return list
}

// qemuDigest returns a digest of all pieces of a disk that are not zeros, and
// of their places.
func qemuDigest(t *testing.T, disk string) string {
	t.Helper()
	f, err := os.Open(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	piece, zeros := make([]byte, mib), make([]byte, mib)
	for at := 0; ; at++ {
		n, err := io.ReadFull(f, piece)
		if n > 0 && !bytes.Equal(piece[:n], zeros[:n]) {
			fmt.Fprintln(h, at)
			h.Write(piece[:n])
		}
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return fmt.Sprintf("%x", h.Sum(nil))
		default:
			t.Fatal(err)
		}
	}
}

// qemuSame fails the test if one of the disks with these numbers has changed.
func qemuSame(t *testing.T, disks, before []string, numbers ...int) {
	t.Helper()
	for _, i := range numbers {
		if got := qemuDigest(t, disks[i]); got != before[i] {
			t.Errorf("disk %d has the digest %s, want the %s that it had", i, got, before[i])
		}
	}
}
