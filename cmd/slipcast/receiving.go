package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"slipcast/internal/progress"
	"slipcast/multicast"
)

// A receiving is one image on its way to a target.
type receiving struct {
	overwrite
	how   receiveOptions
	began time.Time
	view  *receiveView
	sink  *imageSink
	offer multicast.Offer // plain
}

// run takes part in the session.
func (r *receiving) run(ctx context.Context) error {
	if !r.opt.yes && !isTerminal(r.env.stderr) {
		return &refusal{noTerminal}
	}
	r.sink = &imageSink{overwrite: &r.overwrite, view: r.view}
	if r.how.bundlesTo != "" {
		r.sink.bundles = r.bundleSink(r.how.bundlesTo)
	}
	defer r.sink.Close()
	last, err := r.receiver().Run(ctx)
	r.view.close(err)
	if err == nil && !r.restored {
		err = errors.New("the session ended before the image was there")
	}
	switch {
	case !r.restored:
		return r.failed(ctx, err)
	case err != nil:
		r.env.note(r.dst, fmt.Sprintf("it is restored, but the sender does not know that: %v", err))
	}
	r.show(last)
	return r.sink.part
}

// bundleSink returns what keeps the files behind the image in dir.
func (r *receiving) bundleSink(dir string) *bundleSink {
	return &bundleSink{
		dir:  dir,
		room: func() (int64, error) { return memoryFor(dir, cmp.Or(int64(r.how.memory), usualMemory)) },
		warn: func(text string) { r.view.warn("bundles", text) },
	}
}

func (r *receiving) receiver() *multicast.Receiver {
	host := hostName()
	return &multicast.Receiver{
		Sink: r.sink, Session: r.how.session, From: r.how.from, Key: r.how.key, Fingerprint: r.how.fingerprint,
		Interface: r.how.iface, Unicast: r.how.unicast, ID: cmp.Or(r.how.id, machineID(r.how.iface, host, r.dst)),
		Name: host, Target: r.dst, Memory: int64(r.how.memory), Wait: given(r.how.search),
		Log:     newNoteLog(func(text string) { r.view.warn(r.dst, text) }),
		Confirm: r.confirm, Watch: func(p multicast.Progress) { r.view.watch(p, r.how.unicast) },
	}
}

// hostName returns the name of this machine, for people.
func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

// machineID returns what tells a target on this machine from all others: the
// MAC address, and which target it is. A machine without such an address is
// known by its name.
func machineID(iface, host, dst string) string {
	machine := host
	interfaces, _ := net.Interfaces()
	i := slices.IndexFunc(interfaces, func(i net.Interface) bool {
		return len(i.HardwareAddr) > 0 && (iface == "" || i.Name == iface)
	})
	if i >= 0 {
		machine = interfaces[i].HardwareAddr.String()
	}
	if path, err := filepath.Abs(dst); err == nil {
		dst = path
	}
	return machine + " " + dst
}

// confirm shows what the sender offers, and asks whether it may have the
// target.
func (r *receiving) confirm(ctx context.Context, o multicast.Offer) error {
	r.offer, r.sink.digest, r.sink.annex = plainOffer(o), o.Digest, o.Annex
	if r.env.json {
		r.view.aside(func() { r.env.object(r.env.stderr, offerObject(r.offer)) })
	}
	if r.opt.yes {
		if !r.env.json && !r.env.quiet {
			r.view.aside(func() { r.describeOffer(r.env.stderr) })
		}
		return nil
	}
	var err error
	r.view.aside(func() {
		r.describeOffer(r.env.stderr)
		err = r.env.confirmTarget(ctx, r.dst, r.target)
	})
	return err
}

// describeOffer tells people what comes, and how far they can trust it.
func (r *receiving) describeOffer(w io.Writer) {
	o := r.offer
	fmt.Fprintf(w, "slipcast: session %s of %s: %s, %s in %s\n", o.Name, o.Host, o.Title, progress.Bytes(o.Bytes), count(o.Frames, "frame"))
	fmt.Fprintf(w, "  %-9s %x\n  %-9s %s, %s\n", "digest", o.Digest, "sender", o.From, r.trust())
}

// trust says how the sender was checked.
func (r *receiving) trust() string {
	switch {
	case r.offer.Keyed:
		return "which knows the key"
	case r.how.fingerprint != nil:
		return "which has the fingerprint that was given"
	}
	return "not checked; its fingerprint is " + hex.EncodeToString(r.offer.Fingerprint[:])
}

func offerObject(o multicast.Offer) map[string]any {
	return map[string]any{
		"type": "offer", "name": o.Name, "session": sessionNumber(o.Session), "host": o.Host, "from": o.From.String(),
		"title": o.Title, "digest": hex.EncodeToString(o.Digest), "frames": o.Frames, "frame_bytes": o.Bytes,
		"fingerprint": hex.EncodeToString(o.Fingerprint[:]), "keyed": o.Keyed,
	}
}

// show tells how it ended.
func (r *receiving) show(p multicast.Progress) {
	took, stats, used := time.Since(r.began), r.sink.stats, r.total()
	r.env.sum(fmt.Sprintf("received %s to %s in %s", r.offer.Title, r.dst, speed(used, took)),
		fact{"in use", progress.Bytes(used)}, fact{"written", progress.Bytes(stats.Written)},
		fact{"checked", r.checks(stats)}, fact{"network", journey(p)}, fact{"digest", r.m.Digest.String()})
	r.env.result(map[string]any{
		"type": "received", "target": r.dst, "digest": r.m.Digest.String(), "name": r.offer.Name,
		"session": sessionNumber(r.offer.Session), "used_bytes": used, "written_bytes": stats.Written,
		"chunks": stats.Chunks, "kept_chunks": stats.Kept, "table_moved": stats.Moved, "verified": r.opt.verify,
		"resumed": r.sink.restorer.Resumed(), "datagrams": p.Datagrams, "missed": p.Missed, "dropped": p.Dropped,
		"repaired": p.Repaired, "fetched_bytes": p.Fetched, "bundles": r.sink.bundles.whole(), "seconds": took.Seconds(),
	}, false)
}

// journey says what the network did to the image.
func journey(p multicast.Progress) string {
	text := fmt.Sprintf("%s, %d missed, %d repaired", count(int(p.Datagrams), "datagram"), p.Missed, p.Repaired)
	if p.Dropped > 0 {
		text += fmt.Sprintf(", %d forged or damaged and dropped", p.Dropped)
	}
	if p.Fetched > 0 {
		text += ", " + progress.Bytes(p.Fetched) + " by HTTPS"
	}
	return text
}
