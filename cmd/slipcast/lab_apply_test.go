package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/trust"
	"slipcast/internal/lab"
)

// TestRootApplyFromServer runs what an agent runs after a restore: bundles come
// from the server onto a disk, and what each product came to is told, also of one
// that fails.
func TestRootApplyFromServer(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4")
	s := newRemoteShop(t)
	disk := labSystem(t)
	s.wantApply(disk, exitDone, `"type":"applied"`, `"bundle":"reader@9.3.0-1"`, `"product":"reader"`, `"state":"ok"`)

	broken := filepath.Join(t.TempDir(), "broken.slb")
	buildTestBundle(t, broken, "broken", "1.0", "run:\n  - {phase: post, exec: [/no/such/program]}\n")
	s.sign(trust.ReleaseOptions{Bundles: []string{broken}}, true)
	s.wantApply(disk, exitFailed, `"type":"failed"`, `"bundle":"broken@1.0-1"`, `"product":"broken"`, `"state":"failed"`, `"product":"reader"`)

	dir := lab.Mount(t, disk)
	if p, err := os.ReadFile(filepath.Join(dir, "opt/reader")); err != nil || !bytes.Equal(p, noise()) {
		t.Errorf("opt/reader has %d bytes, %v; want those of the bundle", len(p), err)
	}
	if exists(filepath.Join(dir, "opt/broken")) {
		t.Error("opt/broken is there, though its bundle failed")
	}
}

// A bundle whose file cannot be opened has failed like any other, and its cell
// says why, once.
func TestRootApplyDamagedFile(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4")
	s := newRemoteShop(t)
	s.release("torn", "1.0", "detect: {present: 'exists(\"opt/torn\")'}\n")
	c, err := s.open(t.Context(), nil, trust.Nonce{})
	if err != nil {
		t.Fatal(err)
	}
	torn, err := c.Bundle("torn@1.0-1")
	if err != nil {
		t.Fatal(err)
	}
	path := s.repo.BundlePath(torn.File)
	if err := errors.Join(os.Chmod(path, 0o644), os.Truncate(path, 1000)); err != nil {
		t.Fatal(err)
	}
	s.wantApply(labSystem(t), exitPart, `"product":"reader","reason":"9.3.0 is there`, `"reason":"not a bundle: `, `"reason":"torn@1.0-1 failed: not a bundle: `, `"state":"failed"`)
}

// A bundle whose secret nobody can give is left out, with what needs it. All
// others are applied, whether it was named or not, and its cell says what helps.
func TestRootApplyWithoutSecret(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4")
	s := newRemoteShop(t)
	s.release("guard", "1.0", "severity: critical\n")
	s.release("licence", "1.0", "params:\n  key: {secret: true}\nseverity: critical\n")
	s.release("suite", "1.0", "requires:\n  - {product: licence}\n")
	const detect = "  - line: {path: /etc/viewer, line: version=1.0.0, create: true}\ndetect: {version: 'ini(\"etc/viewer\", \"\", \"version\")'}\n"
	s.release("viewer", "1.0", detect)
	const why = `wants the secret key, which nobody can give here: bake the bundle into the image, or apply it by hand"`
	disk := labSystem(t)
	s.wantApply(disk, exitPart, `"bundle":"guard@1.0-1"`, `"product":"guard","reason":"1.0 is there`, `"product":"reader","reason":"9.3.0 is there`, `"bundle":"viewer@1.0-1"`,
		`"product":"licence","reason":"it is not there: of licence 1.0: it `+why, `"product":"suite","reason":"it is not there: suite 1.0 needs licence, but of licence 1.0: it `+why)
	if dir := lab.Mount(t, disk); !exists(filepath.Join(dir, "opt/guard")) || exists(filepath.Join(dir, "opt/licence")) || exists(filepath.Join(dir, "opt/suite")) {
		t.Error("want guard there, and neither licence nor suite")
	} else {
		lab.Unmount(t, dir)
	}

	// What is there and lacks but an update did not go away, though it is found as
	// it is written elsewhere.
	s.release("viewer", "1.1", detect+"params:\n  key: {secret: true}\n")
	s.wantApply(disk, exitPart, `"product":"viewer","reason":"1.0 is there: of viewer 1.1: it `+why, `"state":"missing","type":"product","version":"1.0.0"`)

	other := labSystem(t)
	s.goals = []string{"licence", "guard"}
	s.wantApply(other, exitPart, `"bundle":"guard@1.0-1"`, `"product":"guard","reason":"1.0 is there`, `"product":"licence","reason":"it is not there: of licence 1.0: it `+why)
}

// release builds and signs a bundle; see buildTestBundle.
func (s *remoteShop) release(name, version, more string) {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), name+".slb")
	buildTestBundle(s.t, path, name, version, more)
	s.sign(trust.ReleaseOptions{Bundles: []string{path}}, true)
}

// wantApply applies the goals, or all bundles, to a disk, as an agent has a child
// do it.
func (s *remoteShop) wantApply(disk string, code int, objects ...string) {
	s.t.Helper()
	program, err := labBuilt()
	if err != nil {
		s.t.Fatal(err)
	}
	nonce := trust.NewNonce()
	ticket, err := s.files.Ticket(s.t.Context(), trust.Claims{Nonce: nonce, Machine: "00:00:5e:00:53:01", Job: "7"})
	if err != nil {
		s.t.Fatal(err)
	}
	proof := filepath.Join(s.t.TempDir(), "proof.json")
	if err := os.WriteFile(proof, ticket, 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command(program, "catalog", "apply", "--disk="+disk, "--json", "--yes", "--catalog="+s.server.URL+"/catalog",
		"--trust="+s.root, "--ticket="+proof, "--nonce="+nonce.String(), "--ticket-machine=00:00:5e:00:53:01", "--name=room12-01")
	cmd.Args = append(cmd.Args, s.goals...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code {
		s.t.Fatalf("%v, want the exit code %d: %s\n%s", err, code, &said, &out)
	}
	for _, want := range objects {
		if !strings.Contains(out.String(), want) {
			s.t.Errorf("it says\n%s\nwant %s", &out, want)
		}
	}
	for line := range strings.Lines(out.String()) {
		if _, err := checkObject(line); err != nil {
			s.t.Errorf("%v: %s", err, line)
		}
	}
}

// labSystem returns a disk with the least that is a Linux.
func labSystem(t *testing.T) string {
	t.Helper()
	file := lab.File(t, 64<<20)
	lab.Run(t, "mkfs.ext4", "-q", file)
	disk := lab.Loop(t, file, 512)
	dir := lab.Mount(t, disk)
	for name, text := range map[string]string{"etc/os-release": "ID=debian\nVERSION_ID=12\n", "etc/fstab": "", "usr/sbin/init": "x"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lab.Unmount(t, dir)
	return disk
}
