package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A job is slipcast at work in a process of its own, with --json.
type job struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr *bufio.Reader
	said   strings.Builder
}

func startJob(t *testing.T, dir string, stdin io.Reader, args ...string) *job {
	t.Helper()
	cmd := exec.Command("slipcast", append(args, "--json")...)
	cmd.Dir, cmd.Stdin = dir, stdin
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // not done too soon on any machine
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &job{t: t, cmd: cmd, stderr: bufio.NewReader(stderr)}
}

// awaitWork waits until some bytes are done.
func (j *job) awaitWork() {
	j.t.Helper()
	for {
		line, err := j.stderr.ReadString('\n')
		j.said.WriteString(line)
		var event struct{ Done int64 }
		if err == nil {
			err = json.Unmarshal([]byte(line), &event)
		}
		if err != nil {
			j.t.Fatalf("%v after\n%s", err, &j.said)
		}
		if event.Done > 0 {
			return
		}
	}
}

// interrupt sends a signal and checks how slipcast ends.
func (j *job) interrupt(signal os.Signal) {
	j.t.Helper()
	if err := j.cmd.Process.Signal(signal); err != nil {
		j.t.Fatal(err)
	}
	if _, err := io.Copy(&j.said, j.stderr); err != nil {
		j.t.Fatal(err)
	}
	if got := exitOf(j.t, j.cmd.Wait()); got != exitInterrupted {
		j.t.Errorf("exit code %d, want %d", got, exitInterrupted)
	}
	lines := strings.Split(strings.TrimSpace(j.said.String()), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, `"code":130`) || !strings.Contains(last, `: interrupted"`) {
		j.t.Errorf("said %s", last)
	}
}

// A capture that is interrupted leaves neither an image nor a part of one.
func TestInterruptCapture(t *testing.T) {
	dir := t.TempDir()
	source, err := os.Create(filepath.Join(dir, "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	text := prose()
	for range 64 { // at the best level that takes seconds
		if _, err := source.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := source.Close(); err != nil {
		t.Fatal(err)
	}
	j := startJob(t, dir, nil, "capture", "--level", "best", "disk.raw", "disk.img.zst")
	j.awaitWork()
	if _, err := os.Stat(filepath.Join(dir, "disk.img.zst.partial")); err != nil {
		t.Errorf("while it works: %v", err)
	}
	j.interrupt(os.Interrupt)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// A restore that is interrupted, even while its input stalls, leaves a target
// that cannot be mistaken for a disk. The next restore finishes it.
func TestInterruptRestore(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			dir := t.TempDir()
			image := noiseImage(t, dir)
			target := filepath.Join(dir, "target.raw")
			old := bytes.Repeat(prose(), 8)
			if err := os.WriteFile(target, old, 0o666); err != nil {
				t.Fatal(err)
			}
			in, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			defer out.Close()
			j := startJob(t, dir, in, "restore", "--yes", "-", "target.raw")
			if _, err := out.Write(image[:len(image)/2]); err != nil {
				t.Fatal(err)
			}
			j.awaitWork()
			j.interrupt(signal)
			if !strings.Contains(j.said.String(), "it is not restored, and what it held is lost") {
				t.Errorf("said nothing of the target: %s", &j.said)
			}
			got, err := os.ReadFile(target)
			if err != nil || len(got) != len(old) || !isZeros(got[:1<<20]) {
				t.Errorf("the target begins with %x, %v; want zeros", got[:16], err)
			}
			slipcast(t, "restore", "--yes", filepath.Join(dir, "disk.img.zst"), target)
			wantSame(t, target, filepath.Join(dir, "disk.raw"))
		})
	}
}

// A file that was made for a restore goes when that is interrupted.
func TestInterruptRestoreToNewFile(t *testing.T) {
	dir := t.TempDir()
	image := noiseImage(t, dir)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	j := startJob(t, dir, in, "restore", "--yes", "-", "new.raw")
	if _, err := out.Write(image[:len(image)/2]); err != nil {
		t.Fatal(err)
	}
	j.awaitWork()
	j.interrupt(os.Interrupt)
	if _, err := os.Stat(filepath.Join(dir, "new.raw")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("new.raw is there: %v", err)
	}
}

func isZeros(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }

func wantSame(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s and %s differ", filepath.Base(got), filepath.Base(want))
	}
}
