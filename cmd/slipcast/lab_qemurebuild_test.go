package main

import (
	"strconv"
	"testing"
	"time"

	"slipcast/fleet"
)

// Bounds of the time from power-on to the agent's first contact with its
// server, of a machine that has both cores to itself.
const (
	qemuContactUEFI = 50 * time.Second
	qemuContactBIOS = 90 * time.Second
)

func TestQEMUBIOS(t *testing.T) {
	r := newQEMURoom(t)
	machines := r.rebuild("bios", qemuContactBIOS)
	r.localBoot(machines[0])
}

func TestQEMUUEFI(t *testing.T) {
	r := newQEMURoom(t)
	r.rebuild("uefi", qemuContactUEFI)
}

func TestQEMUSecureBoot(t *testing.T) {
	r := newQEMURoom(t)
	machines := r.rebuild("secureboot", qemuContactUEFI)
	r.localBoot(machines[0])
	r.refuseUnsigned(machines[0])
	r.disturb(machines[0], machines[1])
}

// rebuild makes two machines with empty disks clones of one image, by one
// session, and returns them as they run it.
func (r *qemuRoom) rebuild(firmware string, bound time.Duration) []*qemuMachine {
	r.t.Helper()
	a := r.machine(1, firmware, []string{qemuEmpty(r.t)})
	b := r.machine(2, firmware, []string{qemuEmpty(r.t)})
	r.register(a, bound)
	r.phase("machine 1 is registered")
	a.kill()
	b.on()
	b.await("slipcast agent: no job: ")
	r.phase("machine 2 is registered")
	both := []*qemuMachine{a, b}
	jobs := r.create(append([]string{"restore", "--image", "debian", "--grow", "--apply", "*", "--yes"}, qemuNames(both)...)...)
	a.on() // b comes back by itself
	for i, m := range both {
		m.await("slipcast agent: job .* restore begins")
		m.await("slipcast agent: job .* disk vda, DISK-")
		m.await("slipcast agent: job .* restore done")
		if notes := r.job(jobs[i].ID).Status.Notes; len(notes) > 0 {
			r.t.Errorf("the job of %s has notes, want none: %q", m.name, notes)
		}
		r.wantGreeting(m.name)
	}
	r.phase("both are restored")
	if !r.serve.says("session starts.* machines=2", time.Time{}, time.Now()) {
		r.t.Error("there was no session for two machines")
	}
	r.wantClones(both, firmware)
	r.phase("both run what they were given")
	return both
}

// register switches on a machine that nobody knows, and checks what is known
// of it then.
func (r *qemuRoom) register(m *qemuMachine, bound time.Duration) {
	r.t.Helper()
	m.on()
	took := m.contact()
	r.t.Logf("%s: power-on to contact: %.1f s", m.name, took.Seconds())
	if took > bound {
		r.t.Errorf("%s: %.1f s from power-on to contact, want at most %s", m.name, took.Seconds(), bound)
	}
	m.await("slipcast agent: no job: ")
}

// wantClones waits until machines have started from their disks, and checks
// that each is somebody else.
func (r *qemuRoom) wantClones(machines []*qemuMachine, firmware string) {
	r.t.Helper()
	seen := map[string]string{}
	for _, m := range machines {
		over, _ := m.await("slipcast agent: reboot")
		got := m.report()
		r.t.Logf("%s: end of the job to a running Debian: %.0f s", m.name, got.at.Sub(over).Seconds())
		r.wantReport(m, got, firmware)
		for _, secret := range []string{got.id, got.key} {
			if other := seen[secret]; other != "" {
				r.t.Errorf("%s and %s both have %s", other, m.name, secret)
			}
			seen[secret] = m.name
		}
		if firmware != "bios" && r.serve.says("machine asks to boot.*"+m.mac, over, got.at) {
			r.t.Errorf("%s asked the network after its job, want none of that", m.name)
		}
	}
}

// wantReport checks what a clone says of itself.
func (r *qemuRoom) wantReport(m *qemuMachine, got qemuReport, firmware string) {
	r.t.Helper()
	want := qemuReport{at: got.at, host: m.name, id: got.id, key: got.key, root: got.root, firmware: "uefi", security: "no"}
	switch firmware {
	case "bios":
		want.firmware = "bios"
	case "secureboot":
		want.security = "yes"
	}
	if got != want {
		r.t.Errorf("%s: got %+v, want %+v", m.name, got, want)
	}
	if len(got.id) != 32 || len(got.key) < 40 {
		r.t.Errorf("%s: machine-id %q, SSH key %q, want both", m.name, got.id, got.key)
	}
	if size, err := strconv.ParseInt(got.root, 10, 64); err != nil || size < qemuDiskSize*9/10 {
		r.t.Errorf("%s: its file system has %s bytes, want it to fill a disk of %d", m.name, got.root, int64(qemuDiskSize))
	}
}

// localBoot cuts the power of a clone and switches it on again: it has no job,
// and the network leaves it to its disk.
func (r *qemuRoom) localBoot(m *qemuMachine) {
	r.t.Helper()
	m.kill()
	m.on()
	got := m.report()
	if !r.serve.says("machine asks to boot.*"+m.mac+".* verdict=local", m.began, got.at) {
		r.t.Errorf("%s did not ask the network first", m.name)
	}
	if got.host != m.name {
		r.t.Errorf("%s: it calls itself %q", m.name, got.host)
	}
	r.phase("machine without a job: power-on to its own Debian")
}

// refuseUnsigned shows that Secure Boot is enforced: a loader that nobody has
// signed does not start.
func (r *qemuRoom) refuseUnsigned(m *qemuMachine) {
	r.t.Helper()
	r.slipcast("machine", "set", m.name, "--loader", "ipxe")
	m.kill()
	m.on()
	m.await("(?i)access denied|security violation")
	if !r.serve.says("file sent.* file=x64/ipxe.efi", m.began, time.Now()) {
		r.t.Errorf("%s refused something else than ipxe.efi", m.name)
	}
	m.kill()
	r.slipcast("machine", "set", m.name, "--loader", "")
	r.phase("an unsigned loader is refused")
}

// disturb restores two machines again by one session. In the middle the server
// is killed and started again; then the power of the second machine is cut. The
// image takes half a minute at the rate of the server, so that there is a middle.
func (r *qemuRoom) disturb(a, b *qemuMachine) {
	r.t.Helper()
	both := []*qemuMachine{a, b}
	for _, m := range both {
		m.kill()
		qemuClear(r.t, m.disks[0])
	}
	const rate = "--rate=25mbit"
	r.serve.kill()
	r.startServe(rate)
	jobs := r.create(append([]string{"restore", "--image", "debian", "--grow", "--yes"}, qemuNames(both)...)...)
	a.on()
	b.on()
	total := r.awaitJob(jobs[0].ID, "restores", func(j *fleet.Job) bool { return j.Status.Total > 0 }).Status.Total
	a.awaitWritten(total / 4)
	r.serve.kill()
	r.startServe(rate)
	r.phase("the server was killed in the middle")
	b.awaitWritten(total / 2)
	b.kill()
	b.on()
	b.await("slipcast agent: job .* restore begins")
	a.await("slipcast agent: job .* restore done")
	whole := a.written()
	b.await("slipcast agent: job .* restore done")
	rest := b.written()
	r.t.Logf("written without and after a power cut: %d and %d MiB", whole/mib, rest/mib)
	if rest > whole*2/3 {
		r.t.Errorf("after a power cut when half was written %d of %d bytes were, want what was missing", rest, whole)
	}
	for i, want := range []int{1, 2} {
		if got := r.awaitState(jobs[i].ID, "done").Attempts; got != want {
			r.t.Errorf("the job of %s was taken %d times, want %d", both[i].name, got, want)
		}
	}
	r.wantClones(both, "secureboot")
	r.phase("killed server, power cut: both run what they were given")
}
