package bake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Task is a job for [Copy.Run].
type Task struct {
	Job      string            // its name
	Input    any               // is handed to the job as JSON
	Files    []*os.File        // are handed to it open
	ReadOnly bool              // the root is mounted read-only
	Log      func(line string) // is called with what the job says; nil: nobody. From one goroutine, as Progress
	Progress func(bytes int64) // is called with what the job has done since the last call; nil: nobody
}

// patience is how long a job may take to end after its context has.
const patience = time.Minute

// Run mounts the root on the copy, does a job on it and unmounts it; all that
// was written is in the copy then. What the job returned is decoded into
// result, unless that is nil. It takes root's rights.
//
// After an error the copy may be half changed, and should be closed.
func (c *Copy) Run(ctx context.Context, t Task, result any) error {
	q, err := c.request(t)
	if err != nil {
		return err
	}
	d, err := serveDisk(c.cow)
	if err != nil {
		return fmt.Errorf("showing the copy of the disk: %w", err)
	}
	output, err := t.start(ctx, q, d.root)
	err = errors.Join(err, d.close())
	if failed := c.cow.Err(); failed != nil {
		return fmt.Errorf("the copy of the disk: %w", errors.Join(failed, err))
	}
	if err != nil || result == nil {
		return err
	}
	return json.Unmarshal(output, result)
}

func (c *Copy) request(t Task) (*request, error) {
	input, err := json.Marshal(t.Input)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.RemoveAll(c.scratch.programs()), os.Mkdir(c.scratch.programs(), 0o700)); err != nil {
		return nil, err
	}
	q := &request{
		Job: t.Job, Input: input, ReadOnly: t.ReadOnly, Dir: c.scratch.mountDir(), Scratch: c.scratch.programs(),
		SectorSize: c.im.LogicalSector, Volumes: volumes(&c.im.Layout),
	}
	for _, f := range t.Files {
		q.Files = append(q.Files, f.Name())
	}
	return q, nil
}

// start starts the process, listens to it, and waits for its end.
func (t Task) start(ctx context.Context, q *request, mount *os.File) (json.RawMessage, error) {
	heard, outlet, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer heard.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{Arg0}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		outlet.Close()
		return nil, err
	}
	last := &tail{}
	cmd.Stdout, cmd.Stderr = last, last
	cmd.ExtraFiles = append([]*os.File{outlet, mount}, t.Files...)
	cmd.Cancel = stdin.Close // it then unmounts and ends
	cmd.WaitDelay = patience
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID, Pdeathsig: unix.SIGKILL}
	ended := make(chan error, 1)
	go func() { // the signal comes when this thread ends, so it must stay
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		outlet.Close()
		if err == nil {
			_ = json.NewEncoder(stdin).Encode(q) // if it does not listen, it says why
			err = cmd.Wait()
		}
		ended <- err
	}()
	done := t.listen(heard)
	return t.judge(ctx, done, <-ended, last)
}

// listen hands on what the process says, and returns the last message; nil if
// it ended without one.
func (t Task) listen(r io.Reader) *message {
	dec := json.NewDecoder(r)
	for {
		var m message
		if dec.Decode(&m) != nil {
			return nil
		}
		if m.Log != "" && t.Log != nil {
			t.Log(m.Log)
		}
		if m.Bytes > 0 && t.Progress != nil {
			t.Progress(m.Bytes)
		}
		if m.Done {
			return &m
		}
	}
}

// judge tells how a job went.
func (t Task) judge(ctx context.Context, done *message, ended error, last *tail) (json.RawMessage, error) {
	switch {
	case done != nil && done.Fault != nil:
		return nil, done.Fault
	case done != nil && ended == nil:
		return done.Output, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case ended == nil:
		ended = errors.New("it said nothing")
	}
	return nil, fmt.Errorf("the process that does the job %q: %w%s", t.Job, ended, last.text())
}

// A tail keeps the end of what was written to it: the last words of a process.
type tail struct{ b bytes.Buffer }

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p[max(0, len(p)-tailSize):])
	t.b.Next(t.b.Len() - min(t.b.Len(), tailSize))
	return len(p), nil
}

func (t *tail) text() string {
	if s := strings.TrimSpace(t.b.String()); s != "" {
		return ": " + s
	}
	return ""
}
