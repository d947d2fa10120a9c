package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"slipcast/agent/wire"
)

// Bounds of a child.
const (
	maxObject  = 1 << 20          // bytes of a line of --json
	silence    = 30 * time.Minute // without any progress: its disk or its session hangs
	killAfter  = 10 * time.Second // after it was asked to end
	exitNobody = 6
)

// An object is a line that slipcast prints with --json, see slipcast help
// json; the fields that an agent reads.
type object struct {
	Type    string  `json:"type"`
	Stage   string  `json:"stage"`
	Done    int64   `json:"done"`
	Total   int64   `json:"total"`
	Rate    float64 `json:"rate"`
	About   string  `json:"about"`
	Text    string  `json:"text"`
	Digest  string  `json:"digest"`
	Code    int     `json:"code"`
	Message string  `json:"message"`

	Product  string `json:"product"` // of catalog apply
	Bundle   string `json:"bundle"`
	State    string `json:"state"`
	Version  string `json:"version"`
	Severity string `json:"severity"`
	Reason   string `json:"reason"`
}

// A child is a run of this program.
type child struct {
	Args   []string
	Env    []string     // besides what every child gets: NAME=VALUE
	Stdout io.Writer    // nil: objects come there, too
	Object func(object) // is called for each object, never by two goroutines at once
}

// A childError is a child that failed.
type childError struct {
	Code    int // of its exit; -1 if it was killed
	Message string
}

func (e *childError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("slipcast ended with code %d and without a reason", e.Code)
	}
	return e.Message
}

// nobody tells whether a child failed because no sender answered.
func nobody(err error) bool {
	var c *childError
	return errors.As(err, &c) && c.Code == exitNobody
}

// processes runs children as processes of program. It implements children.
type processes struct {
	program string
	grace   time.Duration // between asking a child to end and killing it; 0 is ten seconds
}

// Run runs a child until it ends. When ctx is done it is asked to end, and
// killed ten seconds later; so is one that makes no progress for half an hour.
// One that the kernel does not let go of then, because a disk hangs, is left.
func (p *processes) Run(ctx context.Context, c child) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := newWatch(c.Object, func() { cancel(fmt.Errorf("no progress for %s", silence)) })
	defer watch.stop()
	cmd := exec.CommandContext(ctx, p.program, c.Args...)
	cmd.Args[0] = "slipcast"
	cmd.Env = append([]string{"HOME=/tmp", "PATH=/", "TMPDIR=/tmp"}, c.Env...)
	cmd.Dir = "/"
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = cmp.Or(p.grace, killAfter)
	left := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { time.Sleep(2 * cmd.WaitDelay); close(left) })
	defer stop()
	ended := make(chan error, 1)
	// Not waited for if the child is left.
	go func() { ended <- p.wait(cmd, c, watch) }()
	var err error
	select {
	case err = <-ended:
	case <-left:
		return fmt.Errorf("%w; it does not end although it was killed", context.Cause(ctx))
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// wait starts a child, reads what it prints, and returns what it came to.
func (p *processes) wait(cmd *exec.Cmd, c child, watch *watch) error {
	var g errgroup.Group
	outputs := []func() (io.ReadCloser, error){cmd.StderrPipe}
	if cmd.Stdout = c.Stdout; c.Stdout == nil {
		outputs = append(outputs, cmd.StdoutPipe)
	}
	var readers []io.ReadCloser
	for _, pipe := range outputs {
		r, err := pipe()
		if err != nil {
			return err
		}
		readers = append(readers, r)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for _, r := range readers {
		g.Go(func() error { return readObjects(r, watch.object, watch.text) })
	}
	g.Wait() // a child that prints no objects fails, or not, by its exit code
	return watch.result(cmd.Wait())
}

// A watch keeps what a child says about itself, and notices when it stands
// still.
type watch struct {
	each  func(object)
	timer *time.Timer

	mu   sync.Mutex
	last object // of type error
	mark string // how far it was
	said string // besides objects: a panic, or the last line
}

func newWatch(each func(object), still func()) *watch {
	return &watch{each: each, timer: time.AfterFunc(silence, still)}
}

func (w *watch) stop() { w.timer.Stop() }

// object takes an object of the child.
func (w *watch) object(o object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.Type == "error" {
		w.last = o
	}
	if mark := fmt.Sprint(o.Type, o.Stage, o.Done, o.Text); mark != w.mark {
		w.mark = mark
		w.timer.Reset(silence)
	}
	if w.each != nil {
		w.each(o)
	}
}

// text takes a line of the child that is no object, such as one of a crash.
func (w *watch) text(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !crashed(w.said) {
		w.said = wire.Plain(line, 1024)
	}
}

// crashed tells whether a line is how Go says why a program has crashed.
func crashed(line string) bool {
	return strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:")
}

// result returns the error of a child that ended with err.
func (w *watch) result(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	message := wire.Plain(cmp.Or(w.last.Message, w.said), 4096)
	if message == "" && exit.ExitCode() < 0 {
		message = "slipcast was killed: " + exit.String()
	}
	return &childError{exit.ExitCode(), message}
}

// readObjects calls each for every line of r that is an object, and other for
// those that are not but for empty ones.
func readObjects(r io.Reader, each func(object), other func(string)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := readLine(in)
		var o object
		switch {
		case len(line) == 0:
		case line[0] == '{' && json.Unmarshal(line, &o) == nil:
			each(o)
		default:
			other(string(line))
		}
		if err != nil {
			return err
		}
	}
}

// readLine reads a line. One that is longer than an object may be is passed
// over.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxObject; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case long:
			return nil, err
		}
		return bytes.TrimSpace(line), err
	}
}
