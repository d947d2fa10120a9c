package bake

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"slipcast/image"
	"slipcast/internal/lab"
)

// killArg0 is the first argument of a process that does the job "hang" on an
// image until it is killed: arguments are the image and the scratch folder.
const killArg0 = "slipcast-bake-to-be-killed"

// toBeKilled is what that process runs. It says what the job says, and how Run ended.
func toBeKilled() int {
	data, err := os.Open(os.Args[1])
	if err != nil {
		return 1
	}
	info, _ := data.Stat()
	im, err := image.Open(data, info.Size())
	if err != nil {
		return 1
	}
	c, err := NewCopy(im, CopyOptions{Scratch: os.Args[2]})
	if err != nil {
		return 1
	}
	err = c.Run(context.Background(), Task{Job: "hang", Log: func(s string) { fmt.Println(s) }}, nil)
	fmt.Println(err, c.Close())
	return 0
}

// writeImage writes an image of the disk at path to a file.
func writeImage(t *testing.T, path string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "parent.img.zst")
	if err := os.WriteFile(name, captureBytes(t, path), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// soon waits until f is true, for ten seconds at most.
func soon(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	late := time.After(10 * time.Second)
	for !f() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not after ten seconds: %s", what)
		}
	}
}

// children returns the processes whose parent is pid.
func children(pid int) []int {
	var list []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range tasks {
		text, _ := os.ReadFile(file)
		for _, word := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(word); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ")
}

// Whichever of the two processes is killed while the root is written to, no
// process, no mount and no loop device is left, and the next copy removes the folder.
func TestRootKill(t *testing.T) {
	lab.Root(t)
	k := kinds()[0]
	lab.Tools(t, k.mkfs[0])
	file := writeImage(t, makeRoot(t, k, 1<<20))
	for _, which := range []string{"the process that serves", "the process that does the job", "both"} {
		t.Run(which, func(t *testing.T) {
			scratch := t.TempDir()
			cmd := exec.Command("/proc/self/exe")
			cmd.Args = []string{killArg0, file, scratch}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			if !lines.Scan() || lines.Text() != "begun" {
				t.Fatalf("it says %q", lines.Text())
			}
			if left := leftOver(t); len(left) == 0 {
				t.Fatal("no loop device is seen while there is one: this test would show nothing")
			}
			job := children(cmd.Process.Pid)
			if len(job) != 1 {
				t.Fatalf("children %v, want one", job)
			}
			kill(t, which, cmd.Process.Pid, job[0])
			if which == "the process that does the job" {
				if !lines.Scan() || !strings.Contains(lines.Text(), "signal: killed <nil>") {
					t.Errorf("Run says %q", lines.Text())
				}
			}
			_ = cmd.Wait() // it was killed
			soon(t, "the job has ended", func() bool { return !alive(job[0]) })
			soon(t, "nothing is left over", func() bool { return len(leftOver(t)) == 0 })
			sweep(scratch)
			if list, _ := os.ReadDir(scratch); len(list) > 0 {
				t.Errorf("%v is left over", list)
			}
		})
	}
}

// kill kills the processes that a test is about.
func kill(t *testing.T, which string, server, job int) {
	t.Helper()
	pids := map[string][]int{
		"the process that serves": {server}, "the process that does the job": {job}, "both": {job, server},
	}[which]
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
}
