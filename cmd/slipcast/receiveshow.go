package main

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"slipcast/internal/progress"
	"slipcast/multicast"
)

// A receiveView shows a receiver: what it is waiting for on a line of its own,
// and work with a meter. Its methods are safe for concurrent use.
type receiveView struct {
	env  *env
	mode progress.Mode

	mu      sync.Mutex
	waiting string          // what was shown last, empty if nothing is
	said    time.Time       // when
	meter   *progress.Meter // of the present work, nil if there is none
	work    bool            // the meter is that of frames that come
	left    int64           // bytes in use, and of files, that are to come, for that meter
	over    bool            // nothing is shown any more
	told    map[string]bool // notes, by what they are about
}

func newReceiveView(env *env) *receiveView {
	v := &receiveView{env: env, mode: progress.Detect(env.stderr), told: map[string]bool{}}
	switch {
	case env.quiet:
		v.mode = progress.Quiet
	case env.json:
		v.mode = progress.JSON
	}
	return v
}

// watch shows what a receiver is doing, unless a person is being asked: it
// must not hold up the session. chosen says that it was told to do without
// multicast.
func (v *receiveView) watch(p multicast.Progress, chosen bool) {
	if !v.mu.TryLock() {
		return
	}
	defer v.mu.Unlock()
	if v.over {
		return
	}
	v.notes(p, chosen)
	label := activity(p)
	frames := p.State == multicast.Receiving || p.State == multicast.Fetching
	switch {
	case v.meter != nil && !v.work: // comparing or verifying
	case v.meter != nil:
		v.meter.Relabel(cmp.Or(label, "receiving"))
	case frames:
		v.startWork(label)
	default:
		v.wait(label)
	}
}

// activity says what a receiver is doing, or waiting for.
func activity(p multicast.Progress) string {
	switch {
	case p.State == multicast.Fetching: // what it waits for is then why
		return "receiving by HTTPS"
	case p.Waiting != "":
		return "waiting for " + plain(p.Waiting, longestReason)
	case p.State == multicast.Receiving:
		return "receiving"
	}
	return ""
}

// wait shows what is being waited for: in place on a terminal, and else when it
// changes, but no more than a line every thirty seconds.
func (v *receiveView) wait(text string) {
	now := time.Now()
	switch {
	case text == "" || v.mode == progress.Quiet:
	case v.mode == progress.Terminal:
		fmt.Fprintf(v.env.stderr, "\x1b[?7l\r%s\x1b[K\x1b[?7h", text)
	case v.mode == progress.JSON:
		if text != v.waiting {
			v.env.object(v.env.stderr, map[string]any{"type": "waiting", "text": text})
		}
	default:
		if now.Sub(v.said) < logEvery {
			return
		}
		v.env.say("%s", text)
	}
	v.waiting, v.said = text, now
}

// clear takes away the line.
func (v *receiveView) clear() {
	if v.waiting != "" && v.mode == progress.Terminal {
		fmt.Fprint(v.env.stderr, "\r\x1b[K")
	}
	v.waiting = ""
}

// notes tells once what people should know of their network.
func (v *receiveView) notes(p multicast.Progress, chosen bool) {
	const enough = 1 << 20 // bytes; a tenth of a second at 100 Mbit/s
	switch {
	case p.State == multicast.Fetching && !chosen:
		v.note("multicast", "what is lacking comes by HTTPS, which takes longer: "+cmp.Or(plain(p.Waiting, longestReason), "none arrives"))
	case p.Buffer > 0 && p.Buffer < enough:
		v.note("socket buffer", fmt.Sprintf("the kernel gives no more than %s, so that datagrams get lost at high rates; sysctl net.core.rmem_max=16777216 allows more",
			progress.Bytes(int64(p.Buffer))))
	}
}

// warn shows a warning, unless a person is being asked.
func (v *receiveView) warn(about, text string) {
	if v.mu.TryLock() {
		defer v.mu.Unlock()
		v.asideLocked(func() { v.env.note(about, text) })
	}
}

func (v *receiveView) note(about, text string) {
	if v.told[about] {
		return
	}
	v.told[about] = true
	v.asideLocked(func() { v.env.note(about, text) })
}

// aside calls f, which writes to stderr, while nothing is shown.
func (v *receiveView) aside(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.asideLocked(f)
}

func (v *receiveView) asideLocked(f func()) {
	v.clear()
	if v.meter == nil {
		f()
		return
	}
	v.meter.Aside(f)
}

// say tells people something while work goes on.
func (v *receiveView) say(format string, args ...any) {
	v.aside(func() { v.env.say(format, args...) })
}

// stage starts a meter of other work than receiving, see
// image.RestoreOptions.
func (v *receiveView) stage(name string, total int64) {
	labels := map[string]string{"compare": "comparing", "verify": "verifying"}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.endMeter(nil)
	v.clear()
	v.work, v.meter = false, v.env.meter(labels[name], name, total)
}

// receive ends the comparison. From the first frame on there is a meter of
// those that come, which hold so many bytes in use.
func (v *receiveView) receive(left int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.endMeter(nil)
	v.left = left
}

// expect adds bytes of files to what is to come.
func (v *receiveView) expect(files int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.left += files
}

// startWork starts the meter of frames that come.
func (v *receiveView) startWork(label string) {
	v.clear()
	v.work, v.meter = true, v.env.meter(label, "receive", v.left)
}

// add counts bytes of the present work.
func (v *receiveView) add(n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.meter == nil {
		v.startWork("receiving")
	}
	v.meter.Add(n)
}

// finish ends the present work well.
func (v *receiveView) finish() { v.close(nil) }

// close ends the present work with err.
func (v *receiveView) close(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.endMeter(err)
	v.clear()
	v.over = true
}

func (v *receiveView) endMeter(err error) {
	if v.meter != nil {
		v.meter.Done(err)
		v.meter = nil
	}
}
