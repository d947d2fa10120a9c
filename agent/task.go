package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"slipcast/agent/fresh"
	"slipcast/agent/hardware"
	"slipcast/agent/wire"
	"slipcast/image"
)

// imageName are names, with or without a version, that a store has.
var imageName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}(@[A-Za-z0-9][A-Za-z0-9._-]{0,62})?$`)

// checkJob refuses a job that no server of ours gives, and what would be refused
// after the disk is overwritten.
func checkJob(j *wire.Job) error {
	switch j.Kind {
	case wire.Restore, wire.Capture:
		if !imageName.MatchString(j.Image) {
			return fmt.Errorf("job: %q names no image", j.Image)
		}
	case wire.Survey, wire.Wipe, wire.Shell:
	default:
		return fmt.Errorf("job: this agent does not know the kind %q", j.Kind)
	}
	digest, err := hex.DecodeString(j.Digest)
	switch {
	case j.Kind == wire.Restore && (err != nil || len(digest) != 32):
		return errors.New("job: the digest is no SHA-256 in hexadecimal")
	case j.Need < 0 || j.Disk.Min < 0 || j.Disk.Max < 0:
		return errors.New("job: a size is negative")
	}
	if err := errors.Join(fresh.Check(j.Hostname, j.Answer), wire.CheckApply(j.Apply)); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	return nil
}

// A task is a job under way.
type task struct {
	*agent
	job      *wire.Job
	proof    proof
	reporter *reporter
	stage    string // of the child, last
}

// step shows and reports the step that the job is at.
func (t *task) step(name string) {
	t.screen.show(func(v *view) { v.Step, v.Done, v.Total, v.Rate = name, 0, 0, 0 })
	t.reporter.update(func(r *wire.Report) { r.Step, r.Done, r.Total, r.Rate = name, 0, 0, 0 })
}

// progress shows and reports how far the step is.
func (t *task) progress(done, total, rate int64) {
	done, total, rate = max(0, done), max(0, total), max(0, rate)
	t.screen.show(func(v *view) { v.Done, v.Total, v.Rate = done, total, rate })
	t.reporter.update(func(r *wire.Report) { r.Done, r.Total, r.Rate = done, total, rate })
}

// note tells what was not done though the job is.
func (t *task) note(text string) {
	t.screen.say("note: %s", text)
	t.reporter.note(text)
}

// object shows what a child says.
func (t *task) object(o object) {
	switch o.Type {
	case "progress":
		if stage := wire.Plain(o.Stage, 64); stage != t.stage {
			t.stage = stage
			t.step(stage)
		}
		t.progress(o.Done, o.Total, int64(o.Rate))
	case "note":
		t.note(strings.TrimPrefix(o.About+": "+o.Text, ": "))
	case "waiting":
		t.step("waiting: " + wire.Plain(o.Text, 200))
		t.stage = ""
	}
}

// restore writes the job's image to its disk, if the catalog lets the machine
// have it, and then the bundles of the job: what is the machine's own comes last,
// so no bundle gives it the name of another.
func (t *task) restore(ctx context.Context) (string, error) {
	t.step("catalog")
	if err := t.release(ctx, t.job, t.proof); err != nil {
		return "", err
	}
	d, err := t.choose(ctx, t.job.Need)
	if err != nil {
		return "", err
	}
	if err := t.checkHalf(d); err != nil {
		return "", err
	}
	defer os.RemoveAll(t.bundleFolder()) // it is memory
	if err := t.image(ctx, d); err != nil {
		return "", err
	}
	if err := t.apply(ctx, d); err != nil {
		return "", err
	}
	t.step("hand over")
	d, held, err := t.hold(d)
	if err != nil {
		return "", err
	}
	defer held.Close()
	notes, err := t.handover.Restored(ctx, t.job, d)
	for _, n := range notes {
		t.note(n)
	}
	return t.job.Digest, err
}

// longSilence is after which an attempt to go on with a job wants to see that
// there is something to go on with. An agent tries for that long to bring the
// news that it is done.
const longSilence = reportLast

// checkHalf refuses a whole disk to a job that goes on after nothing had been
// heard of it for long. The server may have missed that it was done, and
// somebody has worked on that disk since.
func (t *task) checkHalf(d wire.Disk) error {
	silent := time.Duration(t.job.Silent) * time.Second
	if t.job.Attempt < 2 || silent < longSilence {
		return nil
	}
	_, held, err := t.hold(d)
	if err != nil {
		return err
	}
	defer held.Close()
	if image.Half(held) {
		return nil
	}
	return fmt.Errorf("nothing was heard of this job for %v, and on %s is no restore that was cut short: it had ended, or never begun; "+
		"nothing was written; who wants the image there tries the job again", silent.Round(time.Minute), hardware.Describe(d))
}

// image brings the image onto a disk: by the job's session as long as it is
// there, else by HTTPS. What a session brought is kept.
func (t *task) image(ctx context.Context, d wire.Disk) error {
	delta := t.job.Delta || t.job.Attempt > 1
	if s := t.job.Session; s != nil {
		t.step("session")
		err := t.run(ctx, d, child{Args: t.receiveArgs(s, delta), Env: []string{"SLIPCAST_KEY=" + s.Key}})
		if !nobody(err) || ctx.Err() != nil {
			return err
		}
		t.note(fmt.Sprintf("the session %s is not there, the image is fetched by HTTPS: %v", s.Name, err))
		delta = true
	}
	return t.fetch(ctx, d, delta)
}

// fetch brings the image onto a disk by HTTPS. A server that is lost may be
// started anew: what is right on the disk by then is kept.
func (t *task) fetch(ctx context.Context, d wire.Disk, delta bool) error {
	for tries := 1; ; tries++ {
		t.step("fetch")
		_, token := t.client.order()
		err := t.run(ctx, d, child{Args: t.restoreArgs(delta), Env: []string{"SLIPCAST_TOKEN=" + token}})
		if !nobody(err) || tries == fetchTries {
			return err
		}
		t.screen.say("the server is lost: %v", err)
		if !pause(ctx, fetchPause) {
			return err
		}
		delta = true
	}
}

// receiveArgs are what slipcast receive gets, without the disk.
func (t *task) receiveArgs(s *wire.Session, delta bool) []string {
	args := append([]string{"receive"}, t.writeArgs(delta)...)
	args = append(args, "--session="+s.Name, "--search=2m")
	if s.From != "" {
		args = append(args, "--from="+s.From)
	}
	if t.iface != "" {
		args = append(args, "--interface="+t.iface)
	}
	if t.inventory.MAC != "" {
		args = append(args, "--id="+t.inventory.MAC)
	}
	if len(t.job.Apply) > 0 {
		args = append(args, "--bundles-to="+t.bundleFolder())
	}
	return args
}

// restoreArgs are what slipcast restore gets, without the disk.
func (t *task) restoreArgs(delta bool) []string {
	args := append([]string{"restore"}, t.writeArgs(delta)...)
	return append(args, "--pin="+t.ticket.Pin, t.client.server()+"/api/v1/images/"+t.job.Image+".img.zst")
}

// writeArgs are the flags of both.
func (t *task) writeArgs(delta bool) []string {
	args := []string{"--json", "--yes", "--digest=" + t.job.Digest}
	for _, f := range []struct {
		given bool
		flag  string
	}{{delta, "--delta"}, {t.job.Grow, "--grow"}, {t.job.Verify, "--verify"}} {
		if f.given {
			args = append(args, f.flag)
		}
	}
	return args
}

// exitPart is the exit code of a restore after which something, such as the
// growth of a file system, was not done though the image is there.
const exitPart = 3

// run runs a child on a disk, which it finds again first and holds. The child
// checks the serial number of what it has opened once more.
func (t *task) run(ctx context.Context, d wire.Disk, c child) error {
	d, held, err := t.hold(d)
	if err != nil {
		return err
	}
	defer held.Close()
	if d.Serial != "" {
		c.Args = append(c.Args, "--serial="+d.Serial)
	}
	digest := ""
	c.Object = func(o object) {
		if o.Type == "restored" || o.Type == "received" {
			digest = o.Digest
		}
		t.object(o)
	}
	c.Args = append(c.Args, "/dev/"+d.Name)
	err = t.children.Run(ctx, c)
	var failed *childError
	switch {
	case errors.As(err, &failed) && failed.Code == exitPart && strings.EqualFold(digest, t.job.Digest):
		t.note(failed.Error())
	case err != nil:
		return err
	case !strings.EqualFold(digest, t.job.Digest):
		return fmt.Errorf("the digest of what was restored is %q, the job wants %s", wire.Plain(digest, 64), t.job.Digest)
	}
	return nil
}

// hold finds a disk that was chosen and keeps its name its own until that is closed: a
// disk without a serial number is known by its path alone, which nobody can ask
// of an open device, so the name must not move. It looks a second time when it
// has it.
func (t *task) hold(d wire.Disk) (now wire.Disk, disk held, err error) {
	if now, err = t.find(d); err != nil {
		return now, nil, err
	}
	if disk, err = t.machine.Hold(now.Name); err != nil {
		return now, nil, err
	}
	again, err := t.find(d)
	if err == nil && again.Name != now.Name {
		err = fmt.Errorf("%s became another disk while it was opened", now.Name)
	}
	if err != nil {
		disk.Close()
		return now, nil, err
	}
	return now, disk, nil
}

// find returns a disk that was chosen, as the kernel calls it now.
func (t *task) find(d wire.Disk) (wire.Disk, error) {
	disks, err := t.machine.Disks()
	if err != nil {
		return d, err
	}
	var found []wire.Disk
	for _, o := range disks {
		if hardware.Same(d, o) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		return d, fmt.Errorf("%s was chosen, and now %d disks are like it", hardware.Describe(d), len(found))
	}
	return found[0], nil
}

// wipe makes the job's disk unreadable.
func (t *task) wipe(ctx context.Context) error {
	d, err := t.choose(ctx, 0)
	if err != nil {
		return err
	}
	d, held, err := t.hold(d)
	if err != nil {
		return err
	}
	defer held.Close()
	t.step("wipe")
	rate := newRate()
	return t.handover.Wipe(ctx, d, func(done, total int64) { t.progress(done, total, rate.at(done)) })
}
