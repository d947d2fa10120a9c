package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"slipcast/agent/wire"
)

// applying returns a room whose child catalog apply does what it is told.
func applying(job *wire.Job, does func(c child) error) *room {
	r := newRoom(job)
	r.child = func(_ context.Context, c child) error {
		if c.Args[0] == "catalog" {
			return does(c)
		}
		c.Object(object{Type: "restored", Digest: testDigest})
		return nil
	}
	return r
}

// After the image the bundles are applied, and then what is the machine's own.
func TestApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := restoreJob()
		job.Apply, job.Hostname = []string{"reader", "fonts@2-1"}, "room12-01"
		var args []string
		r := newRoom(job)
		run := func(c child) error {
			args = c.Args
			if len(r.restored) > 0 {
				t.Error("the machine has its own name before the bundles")
			}
			for _, flag := range []string{"--trust=", "--ticket="} {
				i := slices.IndexFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, flag) })
				if p, err := os.ReadFile(strings.TrimPrefix(c.Args[i], flag)); err != nil || len(p) < 100 {
					t.Errorf("%s has %d bytes, %v", c.Args[i], len(p), err)
				}
			}
			c.Object(object{Type: "progress", Stage: "apply", Done: 5, Total: 10})
			c.Object(object{Type: "failed", Bundle: "fonts@2-1", Reason: "exit code\x1b 1"})
			c.Object(object{Type: "product", Product: "reader", State: "ok", Version: "9.3", Reason: "it is there"})
			c.Object(object{Type: "product", Product: "fonts", State: "missing", Severity: "critical", Reason: "its bundle failed"})
			c.Object(object{Type: "product", Product: "zoom", State: "missing", Reason: "no way from 8.1"})
			return &childError{exitPart, "applying: fonts@2-1: exit code 1"}
		}
		r.child = applying(job, run).child
		r.run(t)
		want := []string{"catalog", "apply", "--disk=/dev/sda", "--json", "--yes", "--catalog=https://192.0.2.1:8443/api/v1/agent/catalog", "--pin=" + strings.Repeat("00", 32)}
		if len(args) < 7 || !slices.Equal(args[:7], want) || !slices.Equal(args[len(args)-4:], []string{"--ticket-machine=00:00:5e:00:53:01", "--name=room12-01", "reader", "fonts@2-1"}) {
			t.Errorf("ran %q", args)
		}
		last := r.last()
		if last.State != wire.Done || !slices.Contains(last.Notes, "applying: fonts@2-1: exit code 1") {
			t.Errorf("last report %s: %s, notes %q; want it done, with a note", last.State, last.Error, last.Notes)
		}
		cells := []wire.Cell{
			{Product: "reader", Version: "9.3", State: wire.CellOK},
			{Product: "fonts", State: wire.CellFailed, Severity: "critical", Reason: "exit code? 1"},
			{Product: "zoom", State: "missing", Reason: "no way from 8.1"},
		}
		if !slices.Equal(last.Cells, cells) {
			t.Errorf("cells %+v\nwant %+v", last.Cells, cells)
		}
		if !slices.Equal(r.restored, []string{"sda"}) {
			t.Errorf("handed over %q, want sda", r.restored)
		}
	})
}

// What a session brings behind the image is applied, and does not stay.
func TestApplySession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := restoreJob()
		job.Apply, job.Session = []string{"*"}, &wire.Session{Name: "room", Key: "secret"}
		folder, came := "", false
		r := newRoom(job)
		r.child = func(_ context.Context, c child) error {
			flag := map[string]string{"receive": "--bundles-to=", "catalog": "--files="}[c.Args[0]]
			i := slices.IndexFunc(c.Args, func(a string) bool { return strings.HasPrefix(a, flag) })
			if flag == "" || i < 0 {
				t.Fatalf("ran %q, want receive and catalog apply with a folder", c.Args)
			}
			switch dir := strings.TrimPrefix(c.Args[i], flag); c.Args[0] {
			case "receive":
				folder = dir
				if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(dir+"/aa.slb", []byte("x"), 0o600)); err != nil {
					t.Error(err)
				}
				c.Object(object{Type: "received", Digest: testDigest})
			default:
				_, err := os.Stat(dir + "/aa.slb")
				came = err == nil
			}
			return nil
		}
		r.run(t)
		if last := r.last(); last.State != wire.Done || !came {
			t.Errorf("%s: %s; the bundle was there: %v; want it done, and there", last.State, last.Error, came)
		}
		if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v, want that it is gone", folder, err)
		}
	})
}

// All that apply are meant by naming none.
func TestApplyAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := restoreJob()
		job.Apply = []string{"*"}
		r := applying(job, func(child) error { return nil })
		r.run(t)
		if len(r.ran) != 2 || !strings.HasSuffix(r.ran[1], "--ticket-machine=00:00:5e:00:53:01 --name=pc-1") || !strings.HasPrefix(r.ran[1], "SLIPCAST_TOKEN=session catalog apply ") {
			t.Errorf("ran %q, want the image and then all bundles", r.ran)
		}
		if last := r.last(); last.State != wire.Done || last.Cells != nil {
			t.Errorf("last report %+v", last)
		}
	})
}

// A child that is killed leaves a bundle there by half, or so it seems: the next
// one sees to it. If that one does not come to its end either, the machine must
// not be used.
func TestApplyKilled(t *testing.T) {
	for _, deaths := range []int{1, 2} {
		t.Run(fmt.Sprint(deaths), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				job := restoreJob()
				job.Apply = []string{"*"}
				ran := 0
				r := applying(job, func(child) error {
					if ran++; ran <= deaths {
						return &childError{-1, "signal: killed"}
					}
					return nil
				})
				r.run(t)
				last := r.last()
				switch {
				case deaths == 1 && last.State != wire.Done:
					t.Errorf("killed once: %s: %s, want it done", last.State, last.Error)
				case deaths == 2 && (last.State != wire.Failed || last.Error != "bundles may be there by half: signal: killed" || len(r.restored) > 0):
					t.Errorf("killed twice: %s: %s, handed over %q; want it failed", last.State, last.Error, r.restored)
				}
			})
		})
	}
}

// A server that is lost in the middle is waited for.
func TestApplyServerLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := restoreJob()
		job.Apply = []string{"*"}
		ran := 0
		r := applying(job, func(child) error {
			if ran++; ran < 20 {
				return &childError{exitNobody, "nobody answers"}
			}
			return nil
		})
		r.run(t)
		if last := r.last(); last.State != wire.Done || ran != 20 {
			t.Errorf("%s: %s after %d runs; want it done after 20", last.State, last.Error, ran)
		}
	})
}

// A job that is cancelled while bundles are applied ends as cancelled.
func TestApplyCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := restoreJob()
		job.Apply = []string{"*"}
		r := newRoom(job)
		r.child = func(ctx context.Context, c child) error {
			if c.Args[0] != "catalog" {
				c.Object(object{Type: "restored", Digest: testDigest})
				return nil
			}
			r.mu.Lock()
			r.reply = func(wire.Report) (wire.Reply, error) { return wire.Reply{Schema: 1, Cancel: true}, nil }
			r.mu.Unlock()
			<-ctx.Done()
			return &childError{1, "interrupted"}
		}
		r.run(t)
		if last := r.last(); last.State != wire.Failed || last.Error != errCancelled.Error() || len(r.restored) > 0 {
			t.Errorf("%s: %s, handed over %q; want it cancelled", last.State, last.Error, r.restored)
		}
	})
}

// What a job may not name is refused before anything is done.
func TestApplyNames(t *testing.T) {
	for _, name := range []string{"--root=/", "-v", "", "a b", "../x", "A", "a@", "a\nb"} {
		if err := wire.CheckApply([]string{name}); err == nil {
			t.Errorf("%q is taken for the name of a bundle", name)
		}
	}
	if err := wire.CheckApply([]string{"*", "reader"}); err == nil {
		t.Error("all, and one besides, is taken")
	}
	if err := wire.CheckApply([]string{"reader", "jdk/17@1.0~rc1-2", "7zip@23.01"}); err != nil {
		t.Error(err)
	}
}

// An attempt that failed, and was made again with success, is no reason for what
// the product lacks then.
func TestFindingsOfTwoRuns(t *testing.T) {
	f := &findings{failed: map[string]string{}}
	for _, o := range []object{
		{Type: "failed", Bundle: "reader@9.2-1", Reason: "nobody answers"}, {Type: "applied", Bundle: "reader@9.2-1"},
		{Type: "product", Product: "reader", State: "missing", Version: "9.2", Reason: "no way from 9.2"},
	} {
		f.object(o)
	}
	want := []wire.Cell{{Product: "reader", Version: "9.2", State: "missing", Reason: "no way from 9.2"}}
	if got := f.cells(); !slices.Equal(got, want) {
		t.Errorf("cells %+v, want %+v", got, want)
	}
}

// Findings are bounded in number and in bytes.
func TestFindingsAreBounded(t *testing.T) {
	for _, reason := range []string{"", strings.Repeat("x", wire.MaxText)} {
		f := &findings{failed: map[string]string{}}
		for i := range 3 * wire.MaxCells {
			f.object(object{Type: "product", Product: fmt.Sprint("p", i), State: "missing", Reason: reason})
			f.object(object{Type: "product", Product: "p0", State: "ok"})
		}
		cells := f.cells()
		if len(cells) > wire.MaxCells || len(cells)+f.left != 3*wire.MaxCells || f.size > maxCells || cells[0].State != wire.CellOK {
			t.Errorf("%d cells of %d bytes, %d left, the first %+v", len(cells), f.size, f.left, cells[0])
		}
	}
}
