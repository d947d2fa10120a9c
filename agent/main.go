package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/agent/wire"
)

// Times of starting up.
const (
	coldplugPause = 200 * time.Millisecond // between two looks for devices
	coldplugLimit = time.Minute
	networkLimit  = 10 * time.Minute
	lastWait      = 3 * time.Second // for what should have ended: a console, a driver
)

// ErrNoBootEnvironment reports that this is an ordinary system, whose disks no
// agent may touch.
var ErrNoBootEnvironment = errors.New("this is no boot environment: slipcast boot build makes one, and its process 1 starts the agent")

// Main is the agent's process: it does what the server wants, tells process 1
// how the machine ends, and returns. After crashed, an earlier one has crashed,
// and all that is left is to tell. Without a boot environment around it, it
// does nothing and returns [ErrNoBootEnvironment].
func Main(ctx context.Context, version string, crashed bool) error {
	if !InBootEnvironment() {
		return ErrNoBootEnvironment
	}
	consoles, in := openConsoles()
	s := newScreen(version, consoles...)
	stop := make(chan struct{})
	var shown sync.WaitGroup
	shown.Go(func() { s.run(stop) })
	defer within(lastWait, shown.Wait) // a console whose output somebody stopped (Ctrl-S) keeps nobody
	defer close(stop)
	end := wire.Reboot
	if crashed {
		afterCrash(ctx, s)
	} else {
		s.say("starts, %s", version)
		end = start(ctx, s, in, version)
	}
	s.say("%s", end)
	time.Sleep(drawEvery) // what was said last is shown
	return os.WriteFile(endPath, []byte(end), 0o600)
}

// start does all that an agent does, and returns how the machine ends.
func start(ctx context.Context, s *screen, in *input, version string) wire.End {
	sys := &system{say: s.say, step: func(step string) { s.show(func(v *view) { v.Step = step }) }}
	f, err := sys.serve(ctx, s, in, version)
	if err != nil {
		s.show(func(v *view) { v.Problem = wire.Plain(err.Error(), wire.MaxText) })
		s.say("%v", err)
		pause(ctx, failedTime)
		f.end = wire.Reboot
	}
	local := f.disk || sys.bootLocal()
	if end := lastEnd(f.end, local, sys.image); end != f.end {
		s.say("the firmware would start this boot environment again, so the machine is switched off")
		return end
	}
	return f.end
}

// lastEnd returns how a machine ends that is to end so. local tells whether the
// firmware takes which disk boots next. A server that is asked at each boot says
// so as well; nobody asks one who starts from a boot.img, over and over.
func lastEnd(end wire.End, local, image bool) wire.End {
	if end == wire.Reboot && image && !local {
		return wire.PowerOff
	}
	return end
}

// serve makes the machine usable and does what a server wants of it.
func (s *system) serve(ctx context.Context, on *screen, in *input, version string) (f fate, err error) {
	load := func(string) error { return err }
	if s.modules, err = openModules(); err == nil {
		load = s.modules.Load
	}
	if err := mountVariables(load); err != nil {
		s.say("%v", err)
	}
	if err == nil {
		err = addEntropy("/" + wire.SeedPath)
	}
	if err != nil {
		return f, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	defer within(lastWait, helpers.Wait) // a driver that hangs keeps nobody
	defer cancel()
	helpers.Go(func() { s.hotplug(ctx) })
	s.step("modules")
	cctx, done := context.WithTimeout(ctx, coldplugLimit)
	helpers.Go(func() { s.coldplug(cctx); done() })
	return converse(ctx, on, in, s, version, cctx.Done(), &helpers)
}

// converse finds a server and obeys it. plugged is closed when the modules of
// all devices are loaded; the network does not wait for that, the disks do.
func converse(ctx context.Context, s *screen, in *input, sys *system, version string, plugged <-chan struct{}, helpers *sync.WaitGroup) (f fate, err error) {
	p, err := os.ReadFile("/" + wire.TicketPath)
	if err != nil {
		return f, err
	}
	ticket, err := ParseTicket(p)
	if err != nil {
		return f, err
	}
	c, err := newClient(ticket)
	if err != nil {
		return f, err
	}
	root, err := readRoot("/" + wire.RootPath)
	if err != nil {
		return f, err
	}
	sys.image = ticket.Token == ""
	s.show(func(v *view) {
		v.Machine, v.Job, v.Step = wire.Plain(ticket.Machine, 64), wire.Plain(ticket.Job, 32), "network"
	})
	up, err := connect(ctx, s, ticket, helpers)
	if err != nil {
		return f, err
	}
	select {
	case <-plugged:
	case <-ctx.Done():
	}
	children := &processes{program: "/init"}
	a := &agent{
		version: version, ticket: ticket, root: root, folder: runFolder, client: c, screen: s, machine: sys, children: children, handover: sys,
		clock: setClock, name: setName, input: in.want, iface: up.nic.Name, mac: up.nic.MAC,
		session: func(s session) { s.save(sessionPath) },
	}
	a.shell = func(ctx context.Context) wire.End {
		sh := &shell{machine: sys, log: s.last, nics: nics, run: children.runOn}
		s.hold(true)
		defer s.hold(false)
		return sh.serve(ctx, shellIO{in.want(), in.out()})
	}
	return a.run(ctx), nil
}

// readRoot reads the root of the catalog, which the boot environment may not
// have.
func readRoot(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := io.ReadAll(io.LimitReader(f, wire.MaxRoot+1))
	if err == nil && len(p) > wire.MaxRoot {
		err = fmt.Errorf("%s: more than %d bytes", path, wire.MaxRoot)
	}
	return p, err
}

// connect brings up the network and keeps its address.
func connect(ctx context.Context, s *screen, ticket wire.Ticket, helpers *sync.WaitGroup) (connection, error) {
	var servers []netip.AddrPort
	for _, text := range ticket.Servers {
		if addr, err := serverAddr(text); err == nil {
			servers = append(servers, addr)
		}
	}
	w := &network{
		nics: wiredNICs, use: useAddress, reach: reachServers(servers), said: s.say,
		lease: func(ctx context.Context, n nic) (lease, error) { return requestLease(ctx, n.Name) },
	}
	nctx, cancel := context.WithTimeout(ctx, networkLimit)
	defer cancel()
	c, err := w.connect(nctx, strings.ToLower(ticket.MAC))
	if err != nil {
		return c, err
	}
	s.show(func(v *view) { v.Address = describeAddress(c) })
	s.say("network %s", describeAddress(c))
	helpers.Go(func() {
		w.keep(ctx, c, func(ctx context.Context, n nic, l lease) (lease, error) { return renewLease(ctx, n.Name, l) })
	})
	return c, nil
}

// afterCrash tells what can be told about an agent that crashed.
func afterCrash(ctx context.Context, s *screen) {
	trace, _ := os.ReadFile(crashPath)
	text := string(trace[:min(len(trace), 1<<20)])
	r := crashReport("", text)
	s.show(func(v *view) { v.Problem = r.Error })
	s.say("%s", r.Error)
	for _, line := range r.Lines[:min(len(r.Lines), 30)] {
		s.say("%s", line.Text)
	}
	(&system{say: s.say}).bootLocal()
	if err := tellCrash(ctx, text); err != nil {
		s.say("the server does not know: %v", err)
	}
	pause(ctx, failedTime)
}

// tellCrash reports the crash if there was a job.
func tellCrash(ctx context.Context, trace string) error {
	var left session
	p, err := os.ReadFile(sessionPath)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(p, &left)
	}
	if err != nil {
		return err
	}
	if p, err = os.ReadFile("/" + wire.TicketPath); err != nil {
		return err
	}
	ticket, err := ParseTicket(p)
	if err != nil {
		return err
	}
	c, err := newClient(ticket)
	if err != nil {
		return err
	}
	return reportCrash(ctx, c, left, trace)
}

// within calls f and waits for it at most so long. It tells whether f returned.
func within(limit time.Duration, f func()) bool {
	done := make(chan struct{})
	// Not waited for after limit: what hangs in the kernel cannot be ended, and
	// the process ends soon.
	go func() { defer close(done); f() }()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

// virtual are consoles that are screens; all others are serial lines.
var virtual = regexp.MustCompile(`^tty[0-9]+$`)

// openConsoles opens all that the kernel writes to (/sys/class/tty/console).
func openConsoles() ([]*console, *input) {
	text, _ := os.ReadFile("/sys/class/tty/console/active")
	in := &input{lines: make(chan string, 16)}
	var list []*console
	for _, name := range strings.Fields(string(text)) {
		f, err := os.OpenFile(filepath.Join("/dev", filepath.Base(name)), os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		in.files = append(in.files, f)
		list = append(list, &console{name: name, out: f, vt: virtual.MatchString(name), size: func() (int, int) { return windowSize(f) }})
	}
	if len(list) == 0 {
		list = append(list, &console{name: "console", out: os.Stdout})
	}
	return list, in
}

// out returns where somebody reads who types.
func (i *input) out() io.Writer {
	var all []io.Writer
	for _, f := range i.files {
		all = append(all, f)
	}
	return io.MultiWriter(all...)
}

// windowSize returns the columns and rows of a console.
func windowSize(f *os.File) (columns, rows int) {
	w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || w.Col < 40 || w.Row < 10 {
		return 80, 25
	}
	return int(w.Col), int(w.Row)
}
