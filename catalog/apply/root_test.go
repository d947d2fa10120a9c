package apply

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// through changes nothing.
func through(d disk) disk { return d }

func TestRootApplyThenUndo(t *testing.T) {
	file := ""
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			f := newFilesystem(t, kind, 0)
			if file = build(t, corpusYAML, corpusFiles()); file == "" {
				t.Fatal("no bundle")
			}
			populate(t, f.dir)
			before, times := digestOf(t, f.dir), folderTimes(t, f.dir)
			if err := work("apply", f.dir, file, through); err != nil {
				t.Fatal(err)
			}
			checkCorpus(t, f.dir)
			if err := work("undo", f.dir, file, through); err != nil {
				t.Fatal(err)
			}
			if after := digestOf(t, f.dir); after != before {
				t.Errorf("apply and undo: tree digest %s, want %s", after, before)
			}
			if after := folderTimes(t, f.dir); !maps.Equal(after, times) {
				t.Errorf("times of directories: %v", difference(times, after))
			}
		})
	}
}

// checkCorpus looks at what the corpus bundle leaves.
func checkCorpus(t *testing.T, dir string) {
	t.Helper()
	for name, want := range map[string]string{
		"usr/bin/tool": "new tool, longer than before", "usr/bin/through": "lands in usr/bin", "etc/expanded": "server=licence.example {x}}",
		"etc/hosts": "127.0.0.1 localhost me\n", "home/hosts": "127.0.0.1 localhost\n", "etc/app.ini": "[main]\nserver = new\n",
		"etc/fresh.conf": "created\n", "srv/swap": "now a file", "srv/plain/in": "now in a directory", "usr/share/new/tree/empty": "",
		"opt/app/bin/run": "new run", "srv/doc/foo/copyright": "of bar", "srv/doc/bar/copyright": "of bar",
	} {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"opt/old", "home/same"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want it to be gone", name, err)
		}
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(dir, "usr/bin/tool"), &st); err != nil || st.Mode&0o7777 != 0o750 || st.Uid != 1 || st.Gid != 2 || st.Mtim.Sec != 1e9 || st.Mtim.Nsec != 5 {
		t.Errorf("usr/bin/tool: %v, %+v, want mode 0750, owner 1:2, time 1e9.5", err, st)
	}
	value := make([]byte, 16)
	if n, err := unix.Getxattr(filepath.Join(dir, "usr/bin/tool"), "user.new", value); err != nil || string(value[:max(n, 0)]) != "fresh" {
		t.Errorf("usr/bin/tool: user.new is %q, %v", value, err)
	}
	if _, err := unix.Getxattr(filepath.Join(dir, "usr/bin/tool"), "user.old", value); !errors.Is(err, unix.ENODATA) {
		t.Errorf("usr/bin/tool: user.old: %v, want it to be gone", err)
	}
	if link, err := os.Readlink(filepath.Join(dir, "bin")); err != nil || link != "usr/bin" {
		t.Errorf("bin: %q, %v, want the link that it was", link, err)
	}
}

// A crash compares trees after cuts of one kind with the old one and the new.
type crash struct {
	filesystem
	kind, job, slb string
	old, new       string
	calls          int
}

// newCrash runs the job once to know what it does.
func newCrash(t *testing.T, kind, job string) *crash {
	t.Helper()
	c := &crash{filesystem: newFilesystem(t, kind, 0), kind: kind, job: job, slb: build(t, corpusYAML, corpusFiles())}
	dir := c.fresh(t, "once")
	c.old = digestOf(t, dir)
	count := &hooked{hook: func(int) {}}
	if err := work(job, dir, c.slb, func(d disk) disk { count.disk = d; return count }); err != nil {
		t.Fatal(err)
	}
	c.new, c.calls = digestOf(t, dir), count.calls
	if c.new == c.old || c.calls < 50 {
		t.Fatalf("the job does nothing in %d operations", c.calls)
	}
	return c
}

// fresh makes a root in a folder of the file system, as it is before the job.
func (c *crash) fresh(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(c.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	populate(t, dir)
	if c.job == "undo" {
		if err := work("apply", dir, c.slb, through); err != nil {
			t.Fatal(err)
		}
	}
	lab.Sync(t, dir)
	return dir
}

// judge recovers a root and compares it.
func (c *crash) judge(t *testing.T, what, dir string) {
	t.Helper()
	if err := work("recover", dir, c.slb, through); err != nil {
		t.Errorf("%s: recovery: %v", what, err)
		return
	}
	if got := digestOf(t, dir); got != c.old && got != c.new {
		t.Errorf("%s: the tree is neither the old one nor the new one: %v", what, lab.Tree(t, dir))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "var/lib/slipcast/tx/*/stage")); len(left) > 0 {
		t.Errorf("%s: left over: %v", what, left)
	}
}

// A process that is killed before any of its operations, and whose recovery is
// killed in turn, leaves the old tree or the new one.
func TestRootKilledAtEveryOperation(t *testing.T) {
	for kind := range kinds {
		for _, job := range []string{"apply", "undo"} {
			t.Run(kind+" "+job, func(t *testing.T) {
				c := newCrash(t, kind, job)
				chance := rand.New(rand.NewPCG(1, 2))
				for call := 1; call <= c.calls; call++ {
					dir := c.fresh(t, fmt.Sprint(call))
					c.kill(t, call, job, dir)
					c.kill(t, 1+chance.IntN(c.calls/2), "recover", dir)
					c.judge(t, fmt.Sprintf("killed before operation %d", call), dir)
					if err := os.RemoveAll(dir); err != nil {
						t.Fatal(err)
					}
				}
				t.Logf("%d kills", c.calls)
			})
		}
	}
}

// kill runs the job in a process that kills itself before an operation. A
// recovery may be done before.
func (c *crash) kill(t *testing.T, call int, job, dir string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s %s", killAt, call, job, dir, c.slb))
	var out bytes.Buffer
	cmd.Stderr = &out
	err := cmd.Run()
	if job == "recover" && err == nil {
		return
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Errorf("%s was to be killed before operation %d: %v, %s", job, call, err, out.String())
	}
}

// What is on the device before an operation is what a power cut there leaves:
// it is copied, mounted with its journal replayed, recovered and compared. It
// is copied again whenever something was written to the device.
func TestRootPowerCutAtEveryOperation(t *testing.T) {
	for kind := range kinds {
		for _, job := range []string{"apply", "undo"} {
			t.Run(kind+" "+job, func(t *testing.T) {
				c := newCrash(t, kind, job)
				dir := c.fresh(t, "root")
				cuts, written := map[int]string{}, ""
				hook := func(call int) {
					if now := writes(t, c.dev); now != written {
						cuts[call], written = copyDisk(t, c.filesystem.file), now
					}
				}
				if err := work(job, dir, c.slb, func(d disk) disk { return &hooked{disk: d, hook: hook} }); err != nil {
					t.Fatal(err)
				}
				cuts[c.calls+1] = copyDisk(t, c.filesystem.file)
				lab.Unmount(t, c.dir)
				if len(cuts) < 5 {
					t.Errorf("%d states of the device, want one after each barrier", len(cuts))
				}
				for call, cut := range cuts {
					top := lab.Mount(t, lab.Loop(t, cut, 512), kinds[kind].mount...)
					c.judge(t, fmt.Sprintf("power cut before operation %d", call), filepath.Join(top, "root"))
					lab.Unmount(t, top)
				}
				t.Logf("%d operations, %d states of the device", c.calls, len(cuts))
			})
		}
	}
}

// writes tells how much was written to a loop device.
func writes(t *testing.T, dev string) string {
	t.Helper()
	p, err := os.ReadFile("/sys/block/" + filepath.Base(dev) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(p))[4:7], " ")
}

// copyDisk copies a file system without its holes.
func copyDisk(t testing.TB, file string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "copy.raw")
	lab.Run(t, "cp", "--sparse=always", "--reflink=auto", file, out)
	return out
}

func TestRootApplyRefuses(t *testing.T) {
	lab.Root(t)
	yaml := func(more string) string {
		return "schema: 1\nname: corpus\nversion: 1.0.0\nscheme: semver\n" + more + "payload:\n  - overlay: {from: files, to: /}\n"
	}
	files := func() map[string]string { return map[string]string{"files/etc/one": "1"} }
	none := ""
	higher := "2.0.0"
	tests := []struct {
		name, yaml string
		installed  *string
		want       error
		text       string
	}{
		{"a downgrade", yaml(""), &higher, ErrDowngrade, "version 2.0.0 is installed"},
		{"nothing to upgrade", yaml("upgrades_from: [\">=0.5.0\"]\n"), &none, ErrFrom, ">=0.5.0"},
		{"a command that is not there", yaml("needs: {commands: [nosuch]}\n"), &none, nil, "no program nosuch"},
		{"more than the disk has", yaml("needs: {bytes: 900GiB}\n"), &none, ErrNoSpace, "bytes are free"},
		{"more inodes than the disk has", yaml("needs: {inodes: 900000000000}\n"), &none, ErrNoSpace, "inodes are free"},
		{"a detection that fails", yaml("detect: {present: 'exists(\"/nowhere\")'}\n"), &none, ErrVerify, "detect.present"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			populate(t, dir)
			before := digestOf(t, dir)
			b, err := openBundle(build(t, tt.yaml, files()))
			if err != nil {
				t.Fatal(err)
			}
			err = applyTo(t, dir, b, Options{Installed: tt.installed})
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
			if after := digestOf(t, dir); after != before {
				t.Error("the root was changed")
			}
		})
	}
}
