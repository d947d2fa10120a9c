package kmod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxUevent is the size of the largest uevent: that of the kernel's buffer is
// 2 KiB (UEVENT_BUFFER_SIZE).
const maxUevent = 16 << 10

// A Uevent is what the kernel says when a device comes, goes or changes.
type Uevent struct {
	Action string            // add, remove, change, ...
	Path   string            // of the device below /sys
	Env    map[string]string // MODALIAS, SUBSYSTEM, DEVNAME, ...
}

// ParseUevent reads a message of the kernel: ACTION@PATH and then KEY=VALUE,
// each ended by a zero byte. It is false for any other.
func ParseUevent(p []byte) (Uevent, bool) {
	head, rest, _ := bytes.Cut(p, []byte{0})
	action, dev, ok := strings.Cut(string(head), "@")
	if !ok || action == "" || !strings.HasPrefix(dev, "/") {
		return Uevent{}, false
	}
	u := Uevent{Action: action, Path: dev, Env: map[string]string{}}
	for field := range bytes.SplitSeq(rest, []byte{0}) {
		if key, value, ok := strings.Cut(string(field), "="); ok && key != "" {
			u.Env[key] = value
		}
	}
	return u, true
}

// Listen calls each for every uevent of the kernel until ctx is done, then it
// returns nil. Uevents that come faster than each returns may be lost: whoever
// must know all devices looks at sysfs.
func Listen(ctx context.Context, each func(Uevent)) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return fmt.Errorf("socket for uevents: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return fmt.Errorf("socket for uevents: %w", err)
	}
	f := os.NewFile(uintptr(fd), "uevents")
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	buffer := make([]byte, maxUevent)
	for {
		n, err := f.Read(buffer)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ENOBUFS):
			continue // some were lost
		case err != nil:
			return fmt.Errorf("reading uevents: %w", err)
		}
		if u, ok := ParseUevent(buffer[:n]); ok {
			each(u)
		}
	}
}
