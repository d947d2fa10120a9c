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

// wantApply applies all bundles to a disk, as an agent has a child do it.
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
