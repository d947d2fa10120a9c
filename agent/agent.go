package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"slipcast/agent/fresh"
	"slipcast/agent/wire"
	"slipcast/catalog/trust"
)

// Times of an agent.
const (
	helloLimit = 10 * time.Minute // until somebody says welcome
	stayEvery  = 10 * time.Second // between two questions for what is next
	failedTime = time.Minute      // that a failure stays on the screen
	diskSearch = 30 * time.Second // until a disk has shown up
	askLimit   = 30 * time.Minute // until somebody says which disk
	fetchTries = 30               // of an image whose server is lost
	fetchPause = 20 * time.Second // between them
	kernelTail = 50               // lines of the kernel's log in the report of a failure
)

// A machine is what a machine is made of.
type machine interface {
	// Inventory describes the machine.
	Inventory(ctx context.Context) wire.Inventory
	// Disks describes the disks that there are now.
	Disks() ([]wire.Disk, error)
	// Hold keeps the kernel's name of a disk from becoming another disk's,
	// until the result is closed. What is on the disk can be read from it.
	Hold(name string) (held, error)
	// KernelLog returns the last n lines of the kernel's log.
	KernelLog(n int) []string
}

// A held disk can be read, and keeps its name.
type held interface {
	io.ReaderAt
	io.Closer
}

// Children run this program as a child.
type children interface {
	// Run returns when the child has ended; a child that failed with code 6,
	// because nobody answered, is told apart.
	Run(ctx context.Context, c child) error
}

// A handover is what is done to a disk and to the firmware besides the image.
type handover interface {
	// Wipe makes the contents of a disk unreadable.
	Wipe(ctx context.Context, d wire.Disk, progress func(done, total int64)) error
	// Restored makes a restored disk this machine's own, and the one that
	// boots next. The notes are what was not done.
	Restored(ctx context.Context, job *wire.Job, d wire.Disk) (notes []string, err error)
}

// An agent is one machine's conversation with its server.
type agent struct {
	version  string
	ticket   wire.Ticket
	root     []byte // of the catalog, that is trusted; empty: nothing is restored
	folder   string // for what children read
	client   *client
	screen   *screen
	machine  machine
	children children
	handover handover
	clock    func(time.Time)                    // sets the machine's clock to the server's
	name     func(string) error                 // gives the machine its name
	input    func() <-chan string               // lines that somebody types on a console; nil: nobody does
	shell    func(ctx context.Context) wire.End // a console for a technician: Reboot or PowerOff
	session  func(session)                      // remembers the job that is under way
	iface    string                             // that the server is reached over
	mac      string                             // of it

	inventory wire.Inventory
	nonce     trust.Nonce // of the last request for a job
	called    string      // the machine, by the server
}

// A fate is what becomes of a machine after its agent.
type fate struct {
	end  wire.End // Reboot or PowerOff
	disk bool     // a job has said which disk boots next; else the machine's own is to
}

// run says hello, does what the server wants, and returns how the machine is
// to end. It takes as long as the jobs do.
func (a *agent) run(ctx context.Context) fate {
	welcome, err := a.hello(ctx)
	if err != nil {
		a.wrong("no job: %v", err)
		pause(ctx, failedTime)
		return fate{end: wire.Reboot}
	}
	for {
		f, stay := a.obey(ctx, welcome)
		if !stay {
			return f
		}
		if welcome, err = a.next(ctx); err != nil {
			a.wrong("no further job: %v", err)
			return fate{end: wire.Reboot, disk: f.disk}
		}
	}
}

// hello says hello until a server says welcome, at most ten minutes.
func (a *agent) hello(ctx context.Context) (w wire.Welcome, err error) {
	a.inventory = a.machine.Inventory(ctx)
	a.inventory.MAC, a.inventory.Version = a.ticket.MAC, a.version
	if a.inventory.MAC == "" {
		a.inventory.MAC = a.mac
	}
	hello := wire.Hello{Schema: wire.Schema, Token: a.ticket.Token, Inventory: a.inventory}
	err = again(ctx, helloLimit, func(ctx context.Context) error {
		a.nonce = trust.NewNonce()
		hello.Nonce = a.nonce.String()
		w, err = a.client.hello(ctx, hello)
		return err
	}, func(err error) { a.wrong("hello: %v", err) })
	if err != nil {
		return w, err
	}
	a.welcome(w)
	return w, nil
}

// welcome takes what a server says besides the job.
func (a *agent) welcome(w wire.Welcome) {
	if off := time.Since(w.Time); !w.Time.IsZero() && (off > time.Minute || off < -time.Minute) && a.clock != nil {
		a.clock(w.Time)
	}
	if w.Machine != "" && fresh.Check(w.Machine, "") == nil && a.name != nil {
		a.called = w.Machine
		if err := a.name(w.Machine); err != nil {
			a.screen.say("note: the machine's name: %v", err)
		}
	}
	a.screen.show(func(v *view) {
		v.Machine, v.Server, v.Problem = wire.Plain(w.Machine, 64), a.client.server(), ""
	})
	a.screen.say("contact %s", w.Machine)
}

// next asks for the next job of an agent that stays.
func (a *agent) next(ctx context.Context) (w wire.Welcome, err error) {
	err = again(ctx, helloLimit, func(ctx context.Context) error {
		a.nonce = trust.NewNonce()
		w, err = a.client.next(ctx, wire.Next{Schema: wire.Schema, Nonce: a.nonce.String()})
		return err
	}, func(err error) { a.wrong("next: %v", err) })
	return w, err
}

// obey does what a welcome says. stay tells to ask for more; f is how it ends
// otherwise.
func (a *agent) obey(ctx context.Context, w wire.Welcome) (f fate, stay bool) {
	end := w.End
	f.end = wire.Reboot
	if w.Job == nil {
		if w.Reason != "" {
			a.screen.remind("no job: " + w.Reason)
		}
	} else {
		err := a.work(ctx, w.Job, proof{w.Proof, a.nonce})
		end, f.disk = w.Job.End, err == nil && w.Job.Kind == wire.Restore
		if err != nil && (end == "" || end == wire.Reboot) {
			pause(ctx, failedTime)
		}
	}
	switch end {
	case wire.Stay:
		return f, pause(ctx, stayEvery)
	case wire.PowerOff:
		f.end = wire.PowerOff
	case wire.OpenShell:
		f.end = a.shell(ctx)
	}
	return f, false
}

// wrong shows what is wrong.
func (a *agent) wrong(format string, args ...any) {
	text := wire.Plain(fmt.Sprintf(format, args...), wire.MaxText)
	a.screen.show(func(v *view) { v.Problem = text })
	a.screen.say("%s", text)
}

// work does a job and reports what it came to.
func (a *agent) work(ctx context.Context, job *wire.Job, p proof) error {
	jctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := newReporter(job.ID, cancel, a.client.report)
	a.screen.tee(r.line)
	defer a.screen.tee(nil)
	name := wire.Plain(job.ID, 32) + " " + wire.Plain(string(job.Kind), 16)
	a.screen.show(func(v *view) { v.Job, v.Image, v.Problem = name, wire.Plain(job.Image, 128), "" })
	a.screen.say("job %s begins", name)
	_, token := a.client.order()
	a.session(session{Job: job.ID, Token: token})
	defer a.session(session{})

	rctx, stop := context.WithCancel(ctx)
	var reports sync.WaitGroup
	reports.Go(func() { r.run(rctx) })
	result, err := a.guarded(jctx, &task{agent: a, job: job, proof: p, reporter: r})
	if cause := context.Cause(jctx); err != nil && cause != nil {
		err = cause
	}
	stop()
	reports.Wait()
	a.conclude(ctx, name, r, result, err)
	return err
}

// conclude shows and reports what a job came to.
func (a *agent) conclude(ctx context.Context, name string, r *reporter, result string, err error) {
	a.screen.show(func(v *view) { v.Step, v.Done, v.Total, v.Rate = "", 0, 0, 0 })
	if err != nil {
		a.wrong("job %s failed: %v", name, err)
		for _, line := range a.machine.KernelLog(kernelTail) {
			r.line("kernel: " + line)
		}
	}
	lost := r.finish(ctx, func(now *wire.Report) {
		now.State, now.Result, now.Candidates = wire.Done, result, nil
		if err != nil {
			now.State, now.Error = wire.Failed, err.Error()
		}
	})
	if lost != nil {
		a.screen.say("the server does not know what job %s came to: %v", name, lost)
	}
	if err == nil {
		a.screen.say("job %s done", name)
	}
}

// errPanic reports a fault of this program.
var errPanic = errors.New("slipcast has a fault")

// guarded does a job. A panic is an error of the job.
func (a *agent) guarded(ctx context.Context, w *task) (result string, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: %v", errPanic, v)
		}
	}()
	job := w.job
	if err := checkJob(job); err != nil {
		return "", err
	}
	switch job.Kind {
	case wire.Restore:
		return w.restore(ctx)
	case wire.Capture:
		return w.capture(ctx)
	case wire.Wipe:
		return "", w.wipe(ctx)
	case wire.Shell:
		if job.End == "" || job.End == wire.Reboot {
			job.End = wire.OpenShell
		}
	}
	return "", nil // the inventory came with the hello
}
