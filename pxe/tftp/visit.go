package tftp

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"
)

// A visit is one request, from its arrival to the end of its transfer.
type visit struct {
	*hall
	arrival
	op    opcode
	wish  wish
	heard atomic.Bool // the client has acknowledged something
}

// run answers the request.
func (v *visit) run(ctx context.Context) {
	l, limit, err := v.front.open(v.arrival)
	if err != nil {
		v.stats.failed.Add(1)
		v.logger().Warn("no socket for a transfer", "err", err)
		return
	}
	defer l.close()
	if text := v.unwanted(); text != "" {
		v.stats.refused.Add(1)
		v.tell(l, codeAccess, text)
		return
	}
	f, err := v.Files(ctx, Request{Name: v.wish.name, Client: v.from, Local: v.to})
	if err != nil {
		v.deny(l, err)
		return
	}
	if f.Closer != nil {
		defer f.Close()
	}
	v.send(ctx, l, f, limit)
}

// unwanted says why a request is refused without asking Files; empty is not.
func (v *visit) unwanted() string {
	switch {
	case v.op == opWrite:
		return "this server takes no files"
	case v.wish.escapes:
		return "access violation"
	case !v.wish.octet:
		return "this server sends in octet mode only"
	}
	return ""
}

// deny tells the client why it gets nothing.
func (v *visit) deny(l link, err error) {
	c, text := explain(err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.stats.missing.Add(1)
	case c == codeAccess:
		v.stats.refused.Add(1)
	default:
		v.stats.failed.Add(1)
		v.logger().Warn("file not served", "err", err)
	}
	v.tell(l, c, text)
}

// tell sends an error. It is sent once: who misses it asks again.
func (v *visit) tell(l link, c code, text string) {
	p := appendError(nil, c, text)
	_ = l.send(p, len(p))
}

// send runs the transfer and notes how it ended.
func (v *visit) send(ctx context.Context, l link, f File, limit int) {
	began := time.Now()
	t := newTransfer(l, v.from, f, agree(v.wish.options, f.Size, limit),
		began.Add(or(v.MaxDuration, defaultDuration)), v)
	v.stats.started.Add(1)
	v.stats.active.Add(1)
	err := t.run(ctx)
	v.stats.active.Add(-1)
	v.stats.bytes.Add(min(max(t.acked, 0)*int64(t.terms.block), f.Size))
	log := v.logger().With("size", f.Size, "took", time.Since(began), "resent", t.resent)
	switch {
	case err == nil:
		v.stats.done.Add(1)
		log.Info("file sent")
	case errors.Is(err, errProbe):
		v.stats.probes.Add(1)
	default:
		v.stats.failed.Add(1)
		log.Warn("file not sent", "err", err)
		v.regret(l, err)
	}
}

// regret tells a client whose transfer fails because of us or takes too long.
func (v *visit) regret(l link, err error) {
	var read *readError
	switch {
	case errors.As(err, &read):
		v.tell(l, codeOther, "the server has trouble with this file")
	case errors.Is(err, errLate):
		v.tell(l, codeOther, "the transfer takes too long")
	}
}

func (v *visit) logger() *slog.Logger {
	return v.log().With("client", v.from.String(), "file", v.wish.name)
}
