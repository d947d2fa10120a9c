package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// A terminal is a pseudo-terminal with slipcast on it: pty(7).
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	master *os.File
	screen strings.Builder // all that was shown
}

// patience is how long a test waits for what must come at once.
const patience = time.Minute

// startOnTerminal starts slipcast on a terminal of 80 columns and 24 lines.
// stdin, stdout are the terminal, too, if they are nil.
func startOnTerminal(t *testing.T, dir string, stdin io.Reader, stdout io.Writer, args ...string) *terminal {
	t.Helper()
	master, slave := openPTY(t)
	defer slave.Close()
	cmd := exec.Command("slipcast", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "TERM=xterm", "LC_ALL=C.UTF-8")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, slave
	if stdin == nil {
		cmd.Stdin = slave
	}
	if stdout == nil {
		cmd.Stdout = slave
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 2}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return &terminal{t: t, cmd: cmd, master: master}
}

// openPTY returns both ends of a new pseudo-terminal.
func openPTY(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	conn, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	controlErr := conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err := errors.Join(controlErr, err); err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// waitFor waits until the terminal has shown text.
func (x *terminal) waitFor(text string) {
	x.t.Helper()
	if err := x.master.SetReadDeadline(time.Now().Add(patience)); err != nil {
		x.t.Fatal(err)
	}
	buf := make([]byte, 4096)
	for !strings.Contains(x.screen.String(), text) {
		n, err := x.master.Read(buf)
		x.screen.Write(buf[:n])
		if err != nil {
			x.t.Fatalf("waiting for %q: %v; the terminal shows:\n%s", text, err, &x.screen)
		}
	}
}

// send types text.
func (x *terminal) send(text string) {
	x.t.Helper()
	if _, err := io.WriteString(x.master, text); err != nil {
		x.t.Fatal(err)
	}
}

// wait waits for the end of slipcast and returns its exit code.
func (x *terminal) wait() int {
	x.t.Helper()
	_, err := io.Copy(&x.screen, x.master)
	if err != nil && !errors.Is(err, unix.EIO) { // the other end is closed
		x.t.Fatal(err)
	}
	return exitOf(x.t, x.cmd.Wait())
}

// exitOf returns the exit code that is in the error of exec.Cmd.Wait.
func exitOf(t *testing.T, err error) int {
	t.Helper()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return exitDone
}

// want fails the test unless slipcast ends with the code, having shown texts.
func (x *terminal) want(code int, texts ...string) {
	x.t.Helper()
	if got := x.wait(); got != code {
		x.t.Errorf("exit code %d, want %d", got, code)
	}
	for _, text := range texts {
		if !strings.Contains(x.screen.String(), text) {
			x.t.Errorf("the terminal does not show %q", text)
		}
	}
	if x.t.Failed() {
		x.t.Logf("the terminal shows:\n%s", &x.screen)
	}
}

// tinyImage makes a folder with disk.raw, an image of it, and a target.
func tinyImage(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{"disk.raw": "A very small disk.\n", "target.raw": "What was there before.\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	slipcast(t, "capture", filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.img.zst"))
	return dir
}

// slipcast runs the program quietly in this process; it must succeed.
func slipcast(t *testing.T, args ...string) {
	t.Helper()
	var stderr strings.Builder
	if code := run(append(args, "--quiet"), strings.NewReader(""), io.Discard, &stderr); code != exitDone {
		t.Fatalf("slipcast %s: exit code %d\n%s", strings.Join(args, " "), code, &stderr)
	}
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v; want %q", filepath.Base(path), got, err, want)
	}
}

const prompt = "All data on target.raw will be lost. Type yes to go on: "

func TestTerminalPrompt(t *testing.T) {
	for _, tt := range []struct {
		name, answer string
		code         int
		says         string
		target       string
	}{
		{"yes", "yes\n", exitDone, "restored disk.img.zst to target.raw", "A very small disk.\n"},
		{"no", "no\n", exitRefused, "target.raw: not confirmed", "What was there before.\n"},
		{"y", "y\n", exitRefused, "not confirmed", "What was there before.\n"},
		{"nothing", "\n", exitRefused, "not confirmed", "What was there before.\n"},
		{"end of file", "\x04", exitRefused, "not confirmed", "What was there before.\n"},
		{"Ctrl-C", "\x03", exitInterrupted, "restoring disk.img.zst to target.raw: interrupted", "What was there before.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tinyImage(t)
			x := startOnTerminal(t, dir, nil, nil, "restore", "disk.img.zst", "target.raw")
			x.waitFor(prompt)
			x.send(tt.answer)
			x.want(tt.code, tt.says, "slipcast: target.raw: 23 B, file", "no partition table", "unknown, whole")
			want, _ := os.ReadFile(filepath.Join(dir, "disk.raw"))
			if tt.code == exitDone {
				want = append(want, "ere.\n"...) // a file with a size keeps it
				tt.target = string(want[:19]) + "\x00\x00\x00\x00"
			}
			wantFile(t, filepath.Join(dir, "target.raw"), tt.target)
		})
	}
}

// A target that was made for the restore does not stay without it.
func TestTerminalNewTarget(t *testing.T) {
	for answer, code := range map[string]int{"no\n": exitRefused, "\x03": exitInterrupted} {
		dir := tinyImage(t)
		x := startOnTerminal(t, dir, nil, nil, "restore", "disk.img.zst", "new.raw")
		x.waitFor("All data on new.raw will be lost.")
		x.send(answer)
		x.want(code, "slipcast: new.raw: a new file")
		if _, err := os.Stat(filepath.Join(dir, "new.raw")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("new.raw is there: %v", err)
		}
	}
}

// Where standard input carries the image, the terminal itself is asked.
func TestTerminalPromptBesidePipe(t *testing.T) {
	dir := tinyImage(t)
	image, err := os.Open(filepath.Join(dir, "disk.img.zst"))
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	x := startOnTerminal(t, dir, image, nil, "restore", "-", "target.raw")
	x.waitFor(prompt)
	x.send("yes\n")
	x.want(exitDone, "restored - to target.raw")
}

// An image is neither shown on a terminal nor typed in.
func TestTerminalIsNoPipe(t *testing.T) {
	dir := tinyImage(t)
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"capture", "disk.raw", "-"}, "standard output is a terminal; redirect it, or name a file"},
		{[]string{"restore", "-", "target.raw"}, "standard input is a terminal; pipe an image into it, or name a file"},
		{[]string{"inspect", "-"}, "standard input is a terminal; pipe an image into it, or name a file"},
	} {
		startOnTerminal(t, dir, nil, nil, tt.args...).want(exitUsage, tt.says)
	}
	wantFile(t, filepath.Join(dir, "target.raw"), "What was there before.\n")
}

// Work that takes its time has a bar, which is gone when the work is done.
func TestTerminalBar(t *testing.T) {
	dir := t.TempDir()
	image := noiseImage(t, dir)
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	x := startOnTerminal(t, dir, in, nil, "restore", "--yes", "-", "target.raw")
	half := len(image) / 2
	if _, err := out.Write(image[:half]); err != nil {
		t.Fatal(err)
	}
	x.waitFor("restoring ")
	x.waitFor(" of 8.0 MiB")
	if _, err := out.Write(image[half:]); err != nil {
		t.Fatal(err)
	}
	out.Close()
	x.want(exitDone, "%", "\x1b[2K", "slipcast: restored - to target.raw in ")
}

// noiseImage returns an image of 8 MiB that do not compress.
func noiseImage(t *testing.T, dir string) []byte {
	t.Helper()
	disk, path := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.img.zst")
	if err := os.WriteFile(disk, []byte(strings.Repeat(string(noise()), 8)), 0o666); err != nil {
		t.Fatal(err)
	}
	slipcast(t, "capture", disk, path)
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// Of a disk the prompt shows the model and what is on it.
func TestRootTerminalPrompt(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "losetup", "sfdisk", "mke2fs", "mkfs.fat", "mcopy")
	dir := tinyImage(t)
	disk, err := buildDisk()
	if err != nil {
		t.Fatal(err)
	}
	if err := writeSparse(filepath.Join(dir, "disk"), disk); err != nil {
		t.Fatal(err)
	}
	dev := lab.Loop(t, filepath.Join(dir, "disk"), 512)
	x := startOnTerminal(t, dir, nil, nil, "restore", "disk.img.zst", dev)
	x.waitFor("All data on " + dev + " will be lost. Type yes to go on: ")
	x.send("no\n")
	x.want(exitRefused, "slipcast: "+dev+": 40.0 MiB, disk, loop: "+dir+"/disk",
		"GPT 11111111-2222-3333-4444-555555555555, 2 partitions", "ext4      root   Linux", "not confirmed")
	after, err := os.ReadFile(filepath.Join(dir, "disk"))
	if err != nil || string(after) != string(disk) {
		t.Errorf("the disk has changed: %v", err)
	}
}
