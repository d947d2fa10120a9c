package bake

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
	"slipcast/internal/blockdev"
)

// Arg0 is the first argument of a process that must call [Main] at once.
const Arg0 = "slipcast-bake"

// Descriptors of the process that does a job.
const (
	outletFile = 3 // messages go there
	mountFile  = 4 // the top directory of the disk's mount
	firstFile  = 5 // the first of the task's files
)

// Main is what the process that does a job runs. jobs are those that it can do
// beyond the ones of this package, by name. It returns the exit code: 0 if the
// last message was sent, whatever it says.
func Main(jobs map[string]Job) int {
	out := newOutlet(os.NewFile(outletFile, "outlet"))
	in := bufio.NewReader(os.Stdin)
	var q request
	if err := json.NewDecoder(io.LimitReader(in, maxRequestText)).Decode(&q); err != nil {
		return 2 // whoever started it has ended
	}
	for fd := outletFile; fd < firstFile+len(q.Files); fd++ {
		unix.CloseOnExec(fd)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with the process: nothing but the end of it comes from there
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	output, err := q.do(ctx, jobs, out)
	out.done(output, err)
	return 0
}

// maxRequestText is how long a request may be, in bytes.
const maxRequestText = 256 << 20

// ownJobs are the jobs of this package.
func ownJobs() map[string]Job {
	return map[string]Job{applyJob: applySteps, testJob: testBundle}
}

// do mounts the root, does the job, and unmounts it.
func (q *request) do(ctx context.Context, jobs map[string]Job, out *outlet) (json.RawMessage, error) {
	job := ownJobs()[q.Job]
	if job == nil {
		job = jobs[q.Job]
	}
	if job == nil {
		return nil, fmt.Errorf("this program knows no job %q", q.Job)
	}
	if err := ownNamespace(); err != nil {
		return nil, err
	}
	loops, err := q.attach()
	defer closeAll(&loops)
	if err != nil {
		return nil, err
	}
	r, err := root.Mount(ctx, q.disk(loops), q.Dir, root.MountOptions{ReadOnly: q.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("mounting the root: %w", err)
	}
	result, err := job(ctx, r, q.work(out))
	if closed := r.Close(); closed != nil {
		err = errors.Join(err, fmt.Errorf("unmounting the root: %w", closed))
	}
	if err = errors.Join(err, closeAll(&loops)); err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// ownNamespace keeps the mounts of this process, which has a namespace of its
// own, to itself, and makes /proc that of its namespace of processes. What is
// unmounted outside goes here, too. The mark of forgoWriteback is taken away,
// which this process has from its parent.
func ownNamespace() error {
	_, _, _ = syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_IO_FLUSHER, 0, 0)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return nil
}

// attach makes a loop device of each volume.
func (q *request) attach() ([]*blockdev.Loop, error) {
	fd, err := unix.Openat(mountFile, diskName, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the copy of the disk: %w", err)
	}
	file := os.NewFile(uintptr(fd), "slipcast-bake")
	defer file.Close()
	var loops []*blockdev.Loop
	for _, v := range q.Volumes {
		l, err := blockdev.AttachLoop(file, blockdev.LoopOptions{
			Offset: v.Start, Size: v.Size, SectorSize: q.SectorSize, Direct: true, ReadOnly: q.ReadOnly,
		})
		if err != nil {
			return loops, fmt.Errorf("%s: %w", v.Name, err)
		}
		loops = append(loops, l)
	}
	return loops, nil
}

// closeAll closes the loop devices and forgets them.
func closeAll(loops *[]*blockdev.Loop) error {
	var err error
	for _, l := range *loops {
		err = errors.Join(err, l.Close())
	}
	*loops = nil
	return err
}

// disk returns the volumes as package root wants them.
func (q *request) disk(loops []*blockdev.Loop) root.Disk {
	var d root.Disk
	for i, v := range q.Volumes {
		d.Volumes = append(d.Volumes, root.Volume{
			Node: loops[i].Path(), Name: v.Name, Number: v.Number, PartUUID: v.PartUUID, PartLabel: v.PartLabel,
		})
	}
	return d
}

func (q *request) work(out *outlet) *Work {
	w := &Work{Scratch: q.Scratch, input: q.Input, out: out}
	for i, name := range q.Files {
		w.Files = append(w.Files, os.NewFile(uintptr(firstFile+i), name))
	}
	return w
}
