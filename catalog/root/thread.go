package root

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// onThread calls f in a goroutine that has a thread to itself. The thread ends
// with it, so f may change what belongs to a thread. It is never the first one
// of the process, which would not end, and by which /proc/self goes.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// While this goroutine holds the first thread, another one gets another.
			defer runtime.UnlockOSThread()
			done <- onThread(f)
			return
		}
		done <- f()
	}()
	return <-done
}

// privateMounts gives the calling thread a copy of its mount namespace. What
// is mounted in it is not seen outside; what is unmounted outside is unmounted
// in it as well, so that it holds no device for longer.
func privateMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("making the mounts private: %w", err)
	}
	return nil
}
