package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/fleet"
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
	if len(commands) != 21 {
		t.Fatalf("got %q, want five commands, two for a room, seven for one that rebuilds itself, and seven for patches", commands)
	}
	for i, command := range commands[:5] {
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

// So do the two for a room, here one of a single machine on the loopback
// interface.
func TestReadmeRoom(t *testing.T) {
	dir := t.TempDir()
	noiseImage(t, dir)
	if err := os.Rename(filepath.Join(dir, "disk.img.zst"), filepath.Join(dir, "room-12.img.zst")); err != nil {
		t.Fatal(err)
	}
	commands := readmeCommands(t, "slipcast ")
	start := func(command string, changes ...string) *terminal {
		args := strings.Fields(strings.NewReplacer(changes...).Replace(command))
		return startOnTerminal(t, dir, nil, nil, append(args[1:], "--interface", "lo")...)
	}
	sender := start(commands[5], "--wait 20", "--wait 1")
	sender.waitFor("slipcast receive /dev/sdX --session room-12")
	receiver := start(commands[6], "/dev/sda", "next.raw")
	receiver.waitFor("Type yes to go on: ")
	receiver.send("yes\n")
	receiver.want(exitDone, "slipcast: received room-12.img.zst to next.raw in ")
	sender.want(exitDone, "slipcast: sent room-12.img.zst to 1 of 1 receiver in ")
	wantSame(t, filepath.Join(dir, "next.raw"), filepath.Join(dir, "disk.raw"))
}

// Of the seven for a room that rebuilds itself, the store, the catalog and the job
// are made here, for a machine that has said hello. What boots, and what it boots from,
// needs a network and machines: TestQEMU runs both commands there. Here they
// are looked at as the program sees them.
func TestReadmeRebuild(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SLIPCAST_STORE", filepath.Join(dir, "store"))
	t.Setenv("SLIPCAST_STATE", dir)
	noiseImage(t, dir)
	if err := os.Rename(filepath.Join(dir, "disk.img.zst"), filepath.Join(dir, "room-12.img.zst")); err != nil {
		t.Fatal(err)
	}
	commands := readmeCommands(t, "slipcast ")[7:]
	for _, i := range []int{0, 5} {
		args := strings.Fields(commands[i])[1:]
		cmd, rest, err := newRootCmd(&env{}).Find(args)
		if err != nil || cmd.Name() == "slipcast" {
			t.Fatalf("%s: %v", commands[i], err)
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: %v", commands[i], err)
		}
	}
	t.Setenv("SLIPCAST_ONLINE_KEY", filepath.Join(dir, onlineFile))
	for _, i := range []int{1, 2, 3, 4} {
		args := strings.Fields(strings.ReplaceAll(commands[i], "/var/lib/slipcast", dir))
		if i == 3 {
			args = append(args, "--no-passphrase") // which would take a gibibyte, and seconds
		}
		startOnTerminal(t, dir, nil, nil, args[1:]...).want(exitDone)
	}
	registerMachine(t, dir, "00:00:5e:00:53:01")
	x := startOnTerminal(t, dir, nil, nil, strings.Fields(commands[6])[1:]...)
	x.waitFor("Type yes to go on: ")
	x.send("yes\n")
	x.want(exitDone, "restore room-12@1 of pc-005301")
}

// The seven for patches bring the example of bundle init to a real Debian, after
// those that make its store and its catalog.
func TestRootReadmePatches(t *testing.T) {
	tree := lab.Debian(t)
	lab.Tools(t, "mke2fs")
	dir := t.TempDir()
	t.Setenv("SLIPCAST_STORE", filepath.Join(dir, "store"))
	t.Setenv("SLIPCAST_STATE", dir)
	t.Setenv("SLIPCAST_ONLINE_KEY", filepath.Join(dir, onlineFile))
	disk := filepath.Join(dir, "disk.raw")
	lab.Run(t, "mke2fs", "-q", "-t", "ext4", "-d", tree, disk, "1G")
	slipcast(t, "capture", "--level", "fast", disk, filepath.Join(dir, "room-12.img.zst"))
	if err := os.Remove(disk); err != nil {
		t.Fatal(err)
	}
	commands := readmeCommands(t, "slipcast ")
	list := append(slices.Clone(commands[8:12]), commands[14:]...) // without boot build
	for i, command := range list {
		args := strings.Fields(strings.ReplaceAll(command, "/var/lib/slipcast", dir))
		if i == 2 {
			args = append(args, "--no-passphrase")
		}
		x := startOnTerminal(t, dir, nil, nil, args[1:]...)
		switch {
		case strings.Contains(command, "catalog plan"):
			x.want(exitDone, "greeting@1.0.0-1")
		case strings.Contains(command, "compliance"):
			x.want(exitDone, "100.0 % compliant")
		default:
			x.want(exitDone)
		}
	}
}

// registerMachine lets a machine say hello to a server whose state folder is
// dir.
func registerMachine(t *testing.T, dir, mac string) {
	t.Helper()
	db, err := fleet.Open(t.Context(), filepath.Join(dir, fleet.File))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := hello(db, mac); err != nil {
		t.Fatal(err)
	}
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
