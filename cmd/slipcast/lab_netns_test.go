package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// inside calls f with the network of a machine. The sockets that f opens stay
// there; this thread does not, since lab-net ends every process whose first
// thread is in its networks.
func (n *labNet) inside(where string, f func()) {
	n.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours := labOpen(n.t, "/proc/thread-self/ns/net")
	enter := func(ns *os.File) {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // all that follows would be done in the wrong network
		}
	}
	enter(labOpen(n.t, "/run/netns/"+n.name+"-"+where))
	defer enter(ours)
	f()
}
