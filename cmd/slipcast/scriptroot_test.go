package main

import (
	"os/exec"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptLoop (loop VARIABLE FILE [SECTOR-SIZE [ARG...]]) attaches a file to a
// loop device until the script ends, and sets the variable to the device.
func scriptLoop(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) >= 2, "loop VARIABLE FILE [SECTOR-SIZE [ARG...]]")
	flags := []string{"--find", "--show", "--partscan"}
	if len(args) > 2 {
		flags = append(flags, "--sector-size", args[2])
		flags = append(flags, args[3:]...)
	}
	dev := strings.TrimSpace(tool(ts, "losetup", append(flags, ts.MkAbs(args[1]))...))
	ts.Setenv(args[0], dev)
	ts.Defer(func() { _ = exec.Command("losetup", "--detach", dev).Run() })
	// The kernel may have no parser for the table, and there may be no table.
	_ = exec.Command("partx", "--update", dev).Run()
}

// scriptMount (mount DIR ARG...) calls mount(8) with the other arguments; the
// mount ends with the script, or before.
func scriptMount(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) >= 2, "mount DIR ARG...")
	dir := ts.MkAbs(args[0])
	tool(ts, "mount", append(args[1:], dir)...)
	ts.Defer(func() { _ = exec.Command("umount", "--quiet", dir).Run() })
}

// scriptSwapon (swapon DEVICE) uses a device as swap until the script ends.
func scriptSwapon(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) == 1, "swapon DEVICE")
	tool(ts, "swapon", args[0])
	ts.Defer(func() { _ = exec.Command("swapoff", args[0]).Run() })
}

// tool runs a program that must succeed and returns what it printed.
func tool(ts *testscript.TestScript, name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		ts.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
