package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// readmeCommands returns the lines of the README's code that begin with
// prefix, without comments.
func readmeCommands(t *testing.T, prefix string) []string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, block := range strings.Split(string(text), "```")[1:] {
		for line := range strings.Lines(strings.TrimPrefix(block, "sh\n")) {
			command, _, _ := strings.Cut(strings.TrimSpace(line), "#")
			if strings.HasPrefix(command, prefix) {
				lines = append(lines, strings.TrimSpace(command))
			}
		}
	}
	return lines
}

// The README's five commands do what it says, one after the other, with files
// in place of the disks and somebody who answers yes.
func TestReadmeCommands(t *testing.T) {
	lab.Tools(t, "mkfs.ext4")
	const good, next = "good.raw", "next.raw"
	dir := t.TempDir()
	for _, name := range []string{good, next} {
		lab.Run(t, "mkfs.ext4", "-q", filepath.Join(dir, name), "16M")
	}
	commands := readmeCommands(t, "slipcast ")
	if len(commands) != 5 {
		t.Fatalf("got %q, want five commands", commands)
	}
	for i, command := range commands {
		disk := next
		if i == 0 {
			disk = good
		}
		args := strings.Fields(strings.ReplaceAll(command, "/dev/sda", disk))
		x := startOnTerminal(t, dir, nil, nil, args[1:]...)
		if args[1] == "restore" && !strings.Contains(command, "--yes") {
			x.waitFor("Type yes to go on: ")
			x.send("yes\n")
		}
		x.want(exitDone)
	}
	slipcast(t, "verify", filepath.Join(dir, "room-12.img.zst"), filepath.Join(dir, next))
	lab.Run(t, "e2fsck", "-fn", filepath.Join(dir, next))
}

// The targets of make that the README names are there.
func TestReadmeTargets(t *testing.T) {
	commands := readmeCommands(t, "make ")
	if len(commands) != 2 {
		t.Fatalf("got %q, want two commands", commands)
	}
	for _, command := range commands {
		make := exec.Command("make", append([]string{"-n", "-C", "../.."}, strings.Fields(command)[1:]...)...)
		if out, err := make.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
}
