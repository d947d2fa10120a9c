// Slipcast captures a good machine's disk once and makes any number of
// machines become it.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"
)

// version is set by the linker, see Makefile.
var version = "devel"

// built is the time of the last change to the program in seconds since 1970, set by
// the linker like version; empty if nobody has said.
var built = ""

// builtAt returns when the program was not built before: the time of the last change
// to it. It is zero if nobody knows.
func builtAt() time.Time {
	if seconds, err := strconv.ParseInt(built, 10, 64); err == nil {
		return time.Unix(seconds, 0)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}
	}
	for _, s := range info.Settings {
		if at, err := time.Parse(time.RFC3339, s.Value); s.Key == "vcs.time" && err == nil {
			return at
		}
	}
	return time.Time{}
}

// program returns what receipts and images say that they were made by.
func program() string { return "slipcast " + version }

func main() {
	if code, ok := startedByKernel(os.Args); ok {
		os.Exit(code)
	}
	if code, ok := startedAsPart(os.Args); ok {
		os.Exit(code)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program except for the process around it. Tests call it.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	env := &env{stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRootCmd(env)
	root.SetArgs(args)
	err := explain(root, root.ExecuteContext(ctx))
	if err == nil {
		err = env.lost
	}
	env.report(ctx, err)
	return exitCode(ctx, err)
}
