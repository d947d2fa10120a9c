package sandbox

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// TestRootLive: the root is the running system, and the scratch folder lies in
// it. Programs do not see the folder.
func TestRootLive(t *testing.T) {
	small(t) // for its checks
	r, err := root.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	scratch, err := os.MkdirTemp("/var/tmp", "slipcast-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(scratch)
	o, err := New(t.Context(), r, scratch, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got := sh(t, o, "ls -A "+scratch+"; ls -A /tmp; echo seen"); got != "seen\n" {
		t.Errorf("the program sees %q, want an empty scratch folder and an empty /tmp", got)
	}
	sh(t, o, "echo live > /root/slipcast-test-live")
	if _, err := os.Lstat("/root/slipcast-test-live"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the running system has the file: %v", err)
	}
	same(t, changes(t, o), "create root/slipcast-test-live file 644 0:0")
}

// TestRootNet gives a program the resolver of the machine, whatever the root
// has in its place, and leaves nothing of it.
func TestRootNet(t *testing.T) {
	want, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]string{
		"none": "true", "file": "echo mine > etc/resolv.conf", "systemd": "ln -s ../run/systemd/resolve/stub-resolv.conf etc/resolv.conf",
		"link": "mkdir etc/net; echo mine > etc/net/r; ln -s /etc/net/r etc/resolv.conf",
	} {
		t.Run(name, func(t *testing.T) {
			dir := small(t)
			if out, err := run(dir, prepare); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			o := over(t, dir)
			r, err := o.Run(t.Context(), Program{Exec: []string{"cat", "/etc/resolv.conf"}, Net: true, Timeout: time.Minute})
			if err != nil || r.Code != 0 || r.Output != string(want) {
				t.Errorf("it is %q, code %d, %v; want %q", r.Output, r.Code, err, want)
			}
			same(t, changes(t, o))
		})
	}
}

// TestRootOwnPolicy: a root with a policy-rc.d of its own keeps it, and a
// program that brings one can.
func TestRootOwnPolicy(t *testing.T) {
	o := over(t, small(t))
	sh(t, o, "echo x > /x; mkdir /usr/sbin/d")
	same(t, changes(t, o), "create usr/sbin/d dir 755 0:0", "create x file 644 0:0")
	dir := small(t)
	if out, err := run(dir, "echo theirs > usr/sbin/policy-rc.d"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o = over(t, dir)
	if got := sh(t, o, "cat /usr/sbin/policy-rc.d"); got != policyText {
		t.Errorf("policy-rc.d is %q, want ours", got)
	}
	same(t, changes(t, o))
}

// TestRootSandboxKilled: when the process that runs a program is killed, the
// program is, and no mount is left.
func TestRootSandboxKilled(t *testing.T) {
	if dir := os.Getenv("SANDBOX_TEST_DIR"); dir != "" {
		runForever(t, dir, os.Getenv("SANDBOX_TEST_SCRATCH"))
		return
	}
	dir, scratch := small(t), t.TempDir()
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestRootSandboxKilled$")
	cmd.Env = append(os.Environ(), "SANDBOX_TEST_DIR="+dir, "SANDBOX_TEST_SCRATCH="+scratch)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "runs\n" {
		t.Errorf("the child says %q, %v; want that it runs", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	alive := filepath.Join(scratch, "upper-0/alive")
	grows := func() bool {
		before, err := os.Stat(alive)
		if err != nil {
			t.Fatal(err)
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 50e6}, nil)
		after, err := os.Stat(alive)
		return err == nil && after.Size() != before.Size()
	}
	for range 100 { // the kernel kills it soon, but not before Wait returns
		if !grows() {
			break
		}
	}
	if grows() {
		t.Error("the program still runs")
	}
	for _, l := range mountsOf(t) {
		if strings.Contains(l, scratch) {
			t.Errorf("a mount is left: %s", l)
		}
	}
}

// runForever runs a program that has no end.
func runForever(t *testing.T, dir, scratch string) {
	r, err := root.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	o, err := New(t.Context(), r, scratch, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.Run(t.Context(), Program{
		Exec: []string{"sh", "-c", "echo x > /alive; echo runs; while :; do echo x >> /alive; done"},
		Line: func(l string) { os.Stdout.WriteString(l + "\n") },
	})
	t.Fatal(err)
}

// TestRootOfDisk runs a program of a system that was mounted from its disk,
// where nothing can be executed and devices are none, and whose mounts lie in a
// namespace of their own.
func TestRootOfDisk(t *testing.T) {
	dir := small(t)
	node := lab.Loop(t, lab.File(t, 200<<20), 512)
	lab.Run(t, "mkfs.ext4", "-q", "-F", "-d", dir, node)
	mounted := lab.Mount(t, node)
	if out, err := run(mounted, ": > etc/fstab; echo root > etc/passwd"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lab.Unmount(t, mounted)
	r, err := root.Mount(t.Context(), root.Disk{Volumes: []root.Volume{{Node: node}}}, t.TempDir(), root.MountOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := New(t.Context(), r, t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := sh(t, o, "cat /etc/passwd; echo x > /etc/x"); got != "root\n" {
		t.Errorf("the program says %q, want root", got)
	}
	same(t, changes(t, o), "create etc/x file 644 0:0")
	if err := errors.Join(o.Close(), r.Close()); err != nil {
		t.Error(err) // the device would still be in use
	}
	lab.Run(t, "e2fsck", "-fn", node)
}
