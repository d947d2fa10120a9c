package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"slipcast/agent/hardware"
	"slipcast/agent/wire"
)

// consoleHelp is what the console for a technician knows. The boot environment
// has no shell, and no programs but slipcast.
const consoleHelp = `disks            the disks of this machine
net              its network interfaces
log              the last lines of the agent's log
kernel           the last lines of the kernel's log
slipcast ARGS... run slipcast: inspect, verify, restore, capture, ...
reboot, poweroff`

// A shell is a console for a technician.
type shell struct {
	machine machine
	log     func() []string
	nics    func() []wire.NIC
	run     func(ctx context.Context, args []string, out io.Writer) error
}

// A shellIO is where somebody types and reads.
type shellIO struct {
	in  <-chan string // lines
	out io.Writer
}

// serve reads commands and obeys them, until one ends the machine or ctx is
// done. It waits for somebody as long as it takes: that is what it is for.
func (s *shell) serve(ctx context.Context, c shellIO) wire.End {
	fmt.Fprintf(c.out, "\r\nslipcast agent: console; commands:\r\n%s\r\n", strings.ReplaceAll(consoleHelp, "\n", "\r\n"))
	for {
		io.WriteString(c.out, "slipcast> ")
		select {
		case <-ctx.Done():
			return wire.Reboot
		case line := <-c.in:
			if end := s.obey(ctx, strings.Fields(line), c); end != "" {
				return end
			}
		}
	}
}

// obey does what a line says. It returns how the machine ends, if it does.
func (s *shell) obey(ctx context.Context, words []string, c shellIO) wire.End {
	if len(words) == 0 {
		return ""
	}
	switch words[0] {
	case "reboot":
		return wire.Reboot
	case "poweroff":
		return wire.PowerOff
	case "disks":
		s.disks(c.out)
	case "net":
		for _, n := range s.nics() {
			fmt.Fprintf(c.out, "%s %s %s %s link %v %d Mbit/s\r\n", n.Name, n.MAC, n.Bus, n.Driver, n.Link, n.Speed)
		}
	case "log":
		fmt.Fprintf(c.out, "%s\r\n", strings.Join(s.log(), "\r\n"))
	case "kernel":
		fmt.Fprintf(c.out, "%s\r\n", strings.Join(s.machine.KernelLog(100), "\r\n"))
	case "slipcast":
		if err := s.run(ctx, words[1:], c.out); err != nil {
			fmt.Fprintf(c.out, "%v\r\n", err)
		}
	default:
		fmt.Fprintf(c.out, "%s\r\n", strings.ReplaceAll(consoleHelp, "\n", "\r\n"))
	}
	return ""
}

func (s *shell) disks(out io.Writer) {
	disks, err := s.machine.Disks()
	if err != nil {
		fmt.Fprintf(out, "%v\r\n", err)
	}
	for _, d := range disks {
		use := ""
		if d.InUse != "" {
			use = ", " + d.InUse
		}
		fmt.Fprintf(out, "/dev/%s%s\r\n", hardware.Describe(d), use)
	}
}

// An input reads lines from the consoles, once somebody wants them. It
// discards what is typed while nobody does.
type input struct {
	files []*os.File
	lines chan string
	once  sync.Once
}

// want returns the lines that are typed from now on. What was typed before is no
// answer to what is asked now.
func (i *input) want() <-chan string {
	for _, f := range i.files {
		if raw, err := f.SyscallConn(); err == nil {
			raw.Control(func(fd uintptr) { unix.IoctlSetInt(int(fd), unix.TCFLSH, unix.TCIFLUSH) }) // no terminal has none
		}
	}
	i.once.Do(func() {
		for _, f := range i.files {
			// Not waited for: reading a console ends with the machine alone.
			go i.read(f)
		}
	})
	for {
		select {
		case <-i.lines:
			continue
		default:
		}
		return i.lines
	}
}

func (i *input) read(r io.Reader) {
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		select {
		case i.lines <- scan.Text():
		default:
		}
	}
}

// runOn runs slipcast. Nobody can be asked there, so what overwrites a disk
// needs --yes.
func (p *processes) runOn(ctx context.Context, args []string, out io.Writer) error {
	cmd := exec.CommandContext(ctx, p.program, args...)
	cmd.Args[0] = "slipcast"
	cmd.Env, cmd.Dir = []string{"HOME=/tmp", "PATH=/", "TMPDIR=/tmp"}, "/tmp"
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}
