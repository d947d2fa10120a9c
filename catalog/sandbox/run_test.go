package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

func TestRootRunTellsHowItEnded(t *testing.T) {
	o := over(t, small(t))
	var lines []string
	r, err := o.Run(t.Context(), Program{
		Exec: []string{"sh", "-c", `echo out; echo err >&2; printf 'no end'; exit 7`},
		Line: func(line string) { lines = append(lines, line) },
	})
	if r.Code != 7 || err != nil || r.Output != "out\nerr\nno end" {
		t.Errorf("Run = %+v, %v; want code 7 and all output", r, err)
	}
	same(t, lines, "out", "err", "no end")
	r, err = o.Run(t.Context(), Program{Exec: []string{"sh", "-c", `kill -TERM $$`}})
	if r.Code != 143 || err != nil {
		t.Errorf("a program that is killed: %+v, %v; want code 143", r, err)
	}
	for _, name := range []string{"no-such-program", "/no/such", "./none"} {
		if _, err := o.Run(t.Context(), Program{Exec: []string{name}}); err == nil {
			t.Errorf("running %s succeeds, want an error", name)
		}
	}
	same(t, changes(t, o))
}

// TestRootRunFurniture looks at what a program sees.
func TestRootRunFurniture(t *testing.T) {
	o := over(t, small(t))
	source := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(source, []byte("#!/bin/sh\necho ran in $PWD, $1\necho x >> $0 || echo read-only\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := Program{
		Exec:  []string{"./hello.sh", "$HOME"},
		Files: []File{{"hello.sh", source}},
		Env:   map[string]string{"SLIPCAST_BUNDLE": "a@1-1"},
	}
	r, err := o.Run(t.Context(), p)
	if err != nil || r.Code != 0 || !strings.HasPrefix(r.Output, "ran in /run/slipcast/files, $HOME\n") || !strings.HasSuffix(r.Output, "read-only\n") {
		t.Errorf("Run = %+v, %v; want the script in its folder, read-only", r, err)
	}
	p.Exec = []string{"env"}
	r, err = o.Run(t.Context(), p)
	want := "DEBIAN_FRONTEND=noninteractive\nHOME=/root\nLC_ALL=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n" +
		"SLIPCAST_BUNDLE=a@1-1\nSLIPCAST_FILES=/run/slipcast/files\nSYSTEMD_OFFLINE=1\n"
	if got := strings.ReplaceAll(r.Output, "PWD=/run/slipcast/files\n", ""); got != want || err != nil {
		t.Errorf("the environment is\n%s, %v; want\n%s", got, err, want)
	}
	tests := []struct{ script, want string }{
		{"ls /dev", "fd\nfull\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n"},
		{"ls /run", "slipcast\n"},
		{"ls /tmp; touch /tmp/x /run/y", ""},
		{"ls /tmp", ""},
		{"hostname", "localhost\n"},
		{"sh /usr/sbin/policy-rc.d || echo $?", "101\n"},
		{"ls /sys/class/net; ip address show lo | grep -o 127.0.0.1/8; nc -z 10.255.255.1 80 2>/dev/null || echo no way out", "lo\n127.0.0.1/8\nno way out\n"},
		{"echo a | cat; echo b > /dev/null; read x < /dev/null || echo empty", "a\nempty\n"},
		{"umask; ulimit -c", "0022\n0\n"},
		{"cut -d' ' -f5 /proc/self/mountinfo | sort | head -1", "/\n"},
	}
	for _, tt := range tests {
		if got := sh(t, o, tt.script); got != tt.want {
			t.Errorf("%s says %q, want %q", tt.script, got, tt.want)
		}
	}
	same(t, changes(t, o))
}

// TestRootRunCannot tries what would leave the sandbox.
func TestRootRunCannot(t *testing.T) {
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "secret"), []byte("host"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := over(t, small(t))
	for _, script := range []string{
		"echo h > /proc/sysrq-trigger",
		"echo 1 > /proc/sys/kernel/panic",
		"echo x > /sys/power/state",
		"mknod /tmp/disk b 7 0",
		"mknod /disk b 7 0",
		"mount -t tmpfs none /tmp",
		"mount -o remount,rw /sys",
		"umount /proc/sys",
		"umount /sys",
		"cat " + host + "/secret",
		"cat /proc/1/root" + host + "/secret",
		"ls /proc/1/root/",
		"cat /proc/1/environ",
		"cat /proc/1/fd/0",
		"kill -0 " + strconv.Itoa(os.Getpid()),
		"ip link set lo down",
		"date -s 2001-01-01; [ $(date +%Y) = 2001 ]",
		"chroot /proc/1/root true",
		"dmesg",
		"hostname other",
		"cat /proc/kcore",
	} {
		r, err := o.Run(t.Context(), Program{Exec: []string{"sh", "-c", script}})
		if err != nil || r.Code == 0 {
			t.Errorf("%s: exit code %d, %v; want it refused\n%s", script, r.Code, err, r.Output)
		}
	}
	got := strings.TrimSpace(sh(t, o, "grep CapBnd /proc/self/status | cut -f2"))
	want := uint64(0)
	for _, c := range keptCapabilities() {
		want |= 1 << c
	}
	if got != fmt.Sprintf("%016x", want) {
		t.Errorf("the bounding set is %s, want %016x", got, want)
	}
	for _, set := range []string{"CapEff", "CapPrm"} {
		if got := strings.TrimSpace(sh(t, o, "grep "+set+" /proc/self/status | cut -f2")); got != fmt.Sprintf("%016x", want) {
			t.Errorf("%s is %s, want %016x", set, got, want)
		}
	}
	same(t, changes(t, o))
}

// TestRootNothingSurvives: whatever a program leaves behind is gone when Run
// returns, and the file that they write to grows no more.
func TestRootNothingSurvives(t *testing.T) {
	for name, leave := range map[string]string{
		"daemon":      "while :; do echo x >> /alive; done &",
		"double fork": "(setsid sh -c 'while :; do echo x >> /alive; done' </dev/null >/dev/null 2>&1 &) &",
		"no signals":  "trap '' HUP TERM INT; setsid sh -c \"trap '' HUP TERM; while :; do echo x >> /alive; done\" >/dev/null 2>&1 &",
	} {
		t.Run(name, func(t *testing.T) {
			o := over(t, small(t))
			sh(t, o, leave+"\nuntil [ -s /alive ]; do :; done")
			size := func() int64 {
				st, err := o.Root().Lstat("alive")
				if err != nil {
					t.Fatal(err)
				}
				return st.Size
			}
			before := size()
			sh(t, o, "usleep 100000")
			if after := size(); after != before {
				t.Errorf("the file has grown from %d to %d bytes: somebody lives", before, after)
			}
		})
	}
}

func TestRootRunTimeout(t *testing.T) {
	o := over(t, small(t))
	var r Result
	var err error
	timeout, start := 250*time.Millisecond, time.Now()
	for r.Output == "" && timeout < 30*time.Second { // an emulated machine is slow to begin
		timeout, start = 2*timeout, time.Now()
		r, err = o.Run(t.Context(), Program{
			Exec:    []string{"sh", "-c", "echo begun; trap '' TERM INT; (setsid sh -c 'while :; do :; done' &); while :; do :; done"},
			Timeout: timeout,
		})
	}
	if !errors.Is(err, ErrTimeout) || r.Output != "begun\n" {
		t.Errorf("Run = %+v, %v; want %v after begun", r, err, ErrTimeout)
	}
	if took := time.Since(start); took > timeout+10*time.Second {
		t.Errorf("it took %v, want %v or little more", took, timeout)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = o.Run(ctx, Program{
		Exec: []string{"sh", "-c", "echo begun; while :; do :; done"},
		Line: func(string) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, want %v", err, context.Canceled)
	}
	if _, err := o.Run(ctx, Program{Exec: []string{"true"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v, want %v", err, context.Canceled)
	}
	sh(t, o, "true") // the overlay is still of use
}

// TestRootForkBomb: the limit holds, the program learns of it, and all is
// cleared away.
func TestRootForkBomb(t *testing.T) {
	o := over(t, small(t))
	r, err := o.Run(t.Context(), Program{
		Exec:    []string{"sh", "-c", "i=0; while [ $i -lt 2000 ]; do sleep 1000 & i=$((i+1)); done; echo all"},
		Timeout: time.Minute,
	})
	if err != nil || strings.Contains(r.Output, "all") || !strings.Contains(r.Output, "fork") {
		t.Errorf("2000 processes: code %d, %v; want the limit of 512\n%.300s", r.Code, err, r.Output)
	}
	top, err := pidsHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	for _, name := range groupsIn(t, top) {
		if strings.HasPrefix(name, groupPrefix+strconv.Itoa(os.Getpid())+"-") {
			t.Errorf("the group %s is still there, want it removed", name)
		}
	}
	sh(t, o, "true")
}

// groupsIn returns the names in a hierarchy of groups.
func groupsIn(t *testing.T, top *os.File) []string {
	t.Helper()
	fd, err := unix.Openat(int(top.Fd()), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := os.NewFile(uintptr(fd), ".")
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestRootStaleGroups: what a killed process has left is removed by the next,
// what a living one has is not.
func TestRootStaleGroups(t *testing.T) {
	lab.Root(t)
	top, err := pidsHierarchy()
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	stale, live := groupPrefix+"4194305-1", groupPrefix+"1-1" // beyond the highest number of a process; and the first process
	for _, name := range []string{stale, live} {
		if err := unix.Mkdirat(int(top.Fd()), name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	defer unix.Unlinkat(int(top.Fd()), live, unix.AT_REMOVEDIR)
	removeStale(top)
	names := groupsIn(t, top)
	if slices.Contains(names, stale) || !slices.Contains(names, live) {
		t.Errorf("groups are %v; want %s and not %s", names, live, stale)
	}
}

// TestRootWatch: without the kernel's controller the first process counts.
func TestRootWatch(t *testing.T) {
	o := over(t, small(t))
	s, err := o.orders(Program{Exec: []string{"sh", "-c", "while :; do sleep 1000 & done"}})
	if err != nil {
		t.Fatal(err)
	}
	s.Watch = 100
	o.opt.Processes = 5000
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	said := &output{}
	err = o.merged.Within(func() error {
		_, err := o.start(ctx, s, said)
		return err
	})
	if err == nil || ctx.Err() != nil || !strings.Contains(said.tail(), "at most 100 are allowed") {
		t.Errorf("start = %v, saying %q; want it ended at 100 processes", err, said.tail())
	}
}

// TestRootOutputIsBounded: a program that talks without end fills no memory.
func TestRootOutputIsBounded(t *testing.T) {
	o := over(t, small(t))
	longest, n := 0, 0
	r, err := o.Run(t.Context(), Program{
		Exec: []string{"sh", "-c", "yes | tr -d '\\n' | head -c 3000000; yes 1234567 | head -c 3000000; echo end"},
		Line: func(line string) { longest, n = max(longest, len(line)), n+1 },
	})
	if err != nil || r.Code != 0 || len(r.Output) != maxTail || !strings.HasSuffix(r.Output, "1234567\nend\n") {
		t.Errorf("Run = code %d, %d bytes, %v; want the last %d", r.Code, len(r.Output), err, maxTail)
	}
	if longest != maxLine || n < 375000 {
		t.Errorf("%d lines, the longest of %d bytes; want at least 375000 of at most %d", n, longest, maxLine)
	}
}

func TestOutputLines(t *testing.T) {
	var lines []string
	o := &output{line: func(l string) { lines = append(lines, l) }}
	for _, piece := range []string{"a", "b\n\nc\r\n", strings.Repeat("x", maxLine), "\n", strings.Repeat("y", maxLine+1), "\nz"} {
		if n, err := o.Write([]byte(piece)); n != len(piece) || err != nil {
			t.Errorf("Write = %d, %v; want %d", n, err, len(piece))
		}
	}
	o.end()
	same(t, lines, "ab", "", "c", strings.Repeat("x", maxLine), "", strings.Repeat("y", maxLine), "y", "z")
}

// TestRootDevicesOfTheTree: what lies on a disk may be the node of a disk of
// this machine, for everybody to write to. No program opens it.
func TestRootDevicesOfTheTree(t *testing.T) {
	dir := small(t)
	for name, device := range map[string][2]uint32{"etc/null": {1, 3}, "var/lib/zero": {1, 5}} {
		file := filepath.Join(dir, name)
		if err := unix.Mknod(file, unix.S_IFCHR|0o666, int(unix.Mkdev(device[0], device[1]))); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(file, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	o := over(t, dir)
	const script = `for f in /etc/null /var/lib/zero; do
		if head -c 1 $f >/tmp/read 2>/tmp/said; then echo "$f was read"; fi
		grep -q 'Permission denied' /tmp/said || cat /tmp/said
		if echo x 2>/dev/null >$f; then echo "$f was written to"; fi
	done
	ln /etc/null /var/lib/other && head -c 1 /var/lib/other 2>/dev/null && echo "a link was read"
	head -c 1 /dev/zero >/dev/null && echo done`
	if got := sh(t, o, script); got != "done\n" {
		t.Errorf("the programs say %q, want done alone", got)
	}
}
