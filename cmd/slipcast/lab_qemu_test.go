package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipcast/agent/wire"
	"slipcast/fleet"
	"slipcast/internal/lab"
)

// A qemuRoom is a network with a DHCP server of its own, the real slipcast
// serve, and QEMU machines, see scripts/lab-pxe.
type qemuRoom struct {
	t     *testing.T
	name  string
	state string // folder
	kit   qemuKit
	serve *qemuProcess
	began time.Time // of the phase
}

// newQEMURoom builds a room that ends with the test, and all that runs there
// with it. flags are for serve.
func newQEMURoom(t *testing.T, flags ...string) *qemuRoom {
	t.Helper()
	if os.Getenv("SLIPCAST_LAB") != "qemu" {
		t.Skip("takes minutes; make e2e-qemu runs it")
	}
	lab.Root(t)
	lab.Tools(t, "qemu-system-x86_64", "dnsmasq", "ip", "mmdebstrap", "grub-mkimage")
	r := &qemuRoom{t: t, name: "q" + strings.ToLower(rand.Text()[:7]), state: t.TempDir(), kit: qemuOnce(t), began: time.Now()}
	for _, name := range []string{"server.key", "server.crt", onlineFile} { // boot.img knows the first, and the catalog the last
		lab.Run(t, "cp", filepath.Join(r.kit.state, name), r.state)
	}
	r.guard()
	lab.Run(t, qemuScript, "--name", r.name, "up")
	r.startServe(flags...)
	r.phase("the room is there")
	return r
}

const qemuScript = "../../scripts/lab-pxe"

// guard takes the room down when the test ends, and also when its process is
// killed: then what guards it reads the end of its input.
func (r *qemuRoom) guard() {
	r.t.Helper()
	cmd := exec.Command("sh", "-c", `read -r line; exec "$0" --name "$1" down`, qemuScript, r.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // ctrl-c is not for it
	input, err := cmd.StdinPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		input.Close()
		if err := cmd.Wait(); err != nil {
			r.t.Errorf("lab-pxe down: %v", err)
		}
	})
}

// startServe starts the server, with the same state if it is not the first.
func (r *qemuRoom) startServe(flags ...string) {
	r.t.Helper()
	args := []string{"--name", r.name, "exec", "s", r.kit.program, "serve", "--interface", "eth0",
		"--state", r.state, "--store", r.kit.store, "--boot", r.kit.boot, "--args", "console=tty0,console=ttyS0"}
	r.serve = startQEMUProcess(r.t, "serve", append(args, flags...)...)
	r.serve.await("network boot is served")
}

// phase logs how long what has just come to its end took.
func (r *qemuRoom) phase(what string) {
	r.t.Helper()
	r.t.Logf("%s: %.0f s", what, time.Since(r.began).Seconds())
	r.began = time.Now()
}

// slipcast runs a command of the operator and returns what it printed.
func (r *qemuRoom) slipcast(args ...string) string {
	r.t.Helper()
	cmd := exec.Command(r.kit.program, args...)
	cmd.Env = append(os.Environ(), "SLIPCAST_STATE="+r.state, "SLIPCAST_STORE="+r.kit.store)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		r.t.Fatalf("slipcast %s: %v\n%s", strings.Join(args, " "), err, exit.Stderr)
	}
	return string(out)
}

// create makes jobs.
func (r *qemuRoom) create(args ...string) []fleet.Job {
	r.t.Helper()
	return r.jobs(append([]string{"job", "create"}, args...)...)
}

// job returns a job as it is now.
func (r *qemuRoom) job(id int64) fleet.Job {
	r.t.Helper()
	return r.jobs("job", "show", fmt.Sprint(id))[0]
}

// jobs runs a command that prints jobs.
func (r *qemuRoom) jobs(args ...string) (list []fleet.Job) {
	r.t.Helper()
	d := json.NewDecoder(strings.NewReader(r.slipcast(append(args, "--json")...)))
	for {
		var j fleet.Job
		err := d.Decode(&j)
		if err == io.EOF {
			break
		}
		if err != nil {
			r.t.Fatalf("slipcast %s: %v", strings.Join(args, " "), err)
		}
		list = append(list, j)
	}
	if len(list) == 0 {
		r.t.Fatalf("slipcast %s printed no job", strings.Join(args, " "))
	}
	return list
}

// awaitJob waits until a job is as holds wants it, and returns it.
func (r *qemuRoom) awaitJob(id int64, what string, holds func(j *fleet.Job) bool) (j fleet.Job) {
	r.t.Helper()
	inRoom().until(r.t, fmt.Sprintf("job %d %s", id, what), func() bool {
		j = r.job(id)
		if !j.State.Open() && !holds(&j) {
			r.t.Fatalf("job %d is %s and not %s: %s", id, j.State, what, j.Error)
		}
		return holds(&j)
	})
	return j
}

// awaitState waits until a job has come to its end.
func (r *qemuRoom) awaitState(id int64, want fleet.State) fleet.Job {
	r.t.Helper()
	return r.awaitJob(id, "is "+string(want), func(j *fleet.Job) bool { return j.State == want })
}

// wantGreeting checks that a machine has the bundle of the kit, which its agent
// has looked for after it had applied it.
func (r *qemuRoom) wantGreeting(name string) {
	r.t.Helper()
	var m fleet.Machine
	if err := json.Unmarshal([]byte(r.slipcast("machine", "show", "--json", name)), &m); err != nil {
		r.t.Fatal(err)
	}
	if len(m.Cells) != 1 || m.Cells[0].Product != "greeting" || m.Cells[0].State != wire.CellOK || m.Compliance.Percent != 100 {
		r.t.Errorf("%s: cells %+v, %+v; want greeting, ok", name, m.Cells, m.Compliance)
	}
	r.slipcast("catalog", "compliance", "--machine", name, "--require", "100")
	if out := r.slipcast("catalog", "plan", "--machine", name); !strings.Contains(out, "greeting@") {
		r.t.Errorf("%s: the plan for its image is\n%s\nwant greeting, which is not in the image", name, out)
	}
}

// A qemuKit is what all rooms share.
type qemuKit struct {
	program string // slipcast, as it is released
	golden  string // the disk of a good machine
	store   string // folder, with the image debian and the bundle greeting
	boot    string // folder
	state   string // folder, with the key that boot.img knows
	took    []string
}

// qemuOnce makes the kit, beside the program of this test, which go test
// removes.
func qemuOnce(t *testing.T) qemuKit {
	t.Helper()
	kit, err := qemuMade()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("made once: %s", strings.Join(kit.took, ", "))
	return kit
}

var qemuMade = sync.OnceValues(func() (kit qemuKit, err error) {
	self, err := os.Executable()
	if err != nil {
		return kit, err
	}
	if kit.program, err = labBuilt(); err != nil {
		return kit, err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return kit, err
	}
	dir := filepath.Join(filepath.Dir(self), "qemu")
	kit.golden, kit.store, kit.boot, kit.state = dir+"/golden.raw", dir+"/store", dir+"/boot", dir+"/state"
	if err := os.MkdirAll(kit.state, 0o755); err != nil {
		return kit, err
	}
	img := filepath.Join(dir, "debian.img.zst")
	for _, words := range [][]string{
		{"a Debian", "../../scripts/lab-image", kit.golden},
		{"its image", kit.program, "capture", "--level", "fast", kit.golden, img},
		{"a store", kit.program, "store", "init", "--store", kit.store},
		{"its image there", kit.program, "store", "add", "--store", kit.store, img, "debian"},
		{"a catalog", kit.program, "catalog", "init", "--store", kit.store, "--keys", kit.state, "--no-passphrase"},
		{"a folder of a bundle", kit.program, "bundle", "init", dir + "/greeting"},
		{"the bundle", kit.program, "bundle", "build", dir + "/greeting", "-o", dir + "/greeting.slb"},
		{"both released", kit.program, "catalog", "release", "--store", kit.store, "--image", "debian", dir + "/greeting.slb", "--key", kit.state + "/release.key", "--online-key", kit.state + "/" + onlineFile},
		{"a boot folder", kit.program, "boot", "build", "-o", kit.boot, "--state", kit.state, "--store", kit.store, "--server", "https://10.83.0.1:8443", "--args", "console=tty0,console=ttyS0",
			"--for", "testdata/lab-machines.json", "--cache", filepath.Join(cache, "slipcast", "debian")},
	} {
		began := time.Now()
		if out, err := exec.Command(words[1], words[2:]...).CombinedOutput(); err != nil {
			return kit, fmt.Errorf("%s: %w\n%s", strings.Join(words[1:], " "), err, out)
		}
		kit.took = append(kit.took, fmt.Sprintf("%s %.0f s", words[0], time.Since(began).Seconds()))
	}
	return kit, nil
})

// qemuNames returns the names of machines.
func qemuNames(machines []*qemuMachine) (names []string) {
	for _, m := range machines {
		names = append(names, m.name)
	}
	return slices.Clip(names)
}
