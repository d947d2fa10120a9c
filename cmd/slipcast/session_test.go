package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// onLoopback starts a command of a session on a terminal; the session is this
// test's own.
func onLoopback(t *testing.T, dir string, args ...string) *terminal {
	t.Helper()
	name := map[string]string{"send": "--name", "receive": "--session"}[args[0]]
	session := fmt.Sprintf("%s-%d", strings.ToLower(t.Name()), os.Getpid())
	return startOnTerminal(t, dir, nil, nil, append(args, "--interface", "lo", name, session)...)
}

// Enter starts a session with those who are there.
func TestTerminalSendEnter(t *testing.T) {
	dir := t.TempDir()
	noiseImage(t, dir)
	sender := onLoopback(t, dir, "send", "--wait", "5", "disk.img.zst")
	sender.waitFor("press Enter to start with those who are there")
	receiver := onLoopback(t, dir, "receive", "new.raw")
	receiver.waitFor("All data on new.raw will be lost. Type yes to go on: ")
	receiver.send("yes\n")
	sender.waitFor("waiting for receivers, 1 of 5 ready, starts in 9m")
	sender.send("\n")
	receiver.want(exitDone, "slipcast: session ", ", not checked; its fingerprint is ", "slipcast: received disk.img.zst to new.raw in ")
	sender.want(exitDone, "slipcast receive /dev/sdX --session ", "new.raw  done", "slipcast: sent disk.img.zst to 1 of 1 receiver in ")
	wantSame(t, filepath.Join(dir, "new.raw"), filepath.Join(dir, "disk.raw"))
}

// A receiver that waits can be interrupted, and has touched nothing; so can
// the sender.
func TestTerminalSessionInterrupted(t *testing.T) {
	dir := tinyImage(t)
	sender := onLoopback(t, dir, "send", "--wait", "5", "disk.img.zst")
	sender.waitFor("press Enter")
	receiver := onLoopback(t, dir, "receive", "--yes", "target.raw")
	sender.waitFor("1 of 5 ready")
	receiver.send("\x03")
	receiver.want(exitInterrupted, "slipcast: receiving to target.raw: interrupted")
	wantFile(t, filepath.Join(dir, "target.raw"), "What was there before.\n")
	sender.send("\x03")
	sender.want(exitInterrupted, "slipcast: sending disk.img.zst: interrupted")
}
