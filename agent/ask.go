package agent

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"slipcast/agent/hardware"
	"slipcast/agent/wire"
)

// choose returns the disk that the job means. It waits for one to show up, and
// asks if there are two.
func (t *task) choose(ctx context.Context, need int64) (wire.Disk, error) {
	t.step("disk")
	var d wire.Disk
	candidates, err := t.candidates(ctx, need)
	switch {
	case err != nil:
		return d, err
	case len(candidates) == 1:
		d = candidates[0]
	default:
		if d, err = t.ask(ctx, candidates); err != nil {
			return d, err
		}
	}
	text := hardware.Describe(d)
	t.screen.show(func(v *view) { v.Disk = text })
	t.reporter.update(func(r *wire.Report) { r.Disk = text })
	t.screen.say("job %s disk %s", wire.Plain(t.job.ID, 32), text)
	return d, nil
}

// candidates returns the disks that the job's rule may mean, at least one. A
// disk may take some seconds to show up; and where there is one, another may:
// so a single one must be the only one for two looks in a row.
func (t *task) candidates(ctx context.Context, need int64) ([]wire.Disk, error) {
	began, before := time.Now(), ""
	for {
		disks, err := t.machine.Disks()
		if err != nil {
			return nil, err
		}
		_, found, err := hardware.Choose(t.job.Disk, need, disks)
		now := fmt.Sprint(found)
		if err == nil && now == before {
			return found, nil
		}
		before = now
		if err != nil && time.Since(began) >= diskSearch {
			return nil, err
		}
		if !pause(ctx, time.Second) {
			return nil, ctx.Err()
		}
	}
}

// ask asks on the consoles and on the server which disk is meant, for half an
// hour.
func (t *task) ask(ctx context.Context, candidates []wire.Disk) (wire.Disk, error) {
	var list []string
	for i, d := range candidates {
		list = append(list, hardware.Describe(d))
		t.screen.say("which disk? %d) %s", i+1, list[i])
	}
	why := fmt.Sprintf("%d disks fit the rule", len(candidates))
	t.screen.show(func(v *view) { v.Ask, v.Problem = list, why })
	defer t.screen.show(func(v *view) { v.Ask, v.Problem = nil, "" })
	t.reporter.update(func(r *wire.Report) { r.State, r.Candidates, r.Error = wire.Asking, candidates, why })
	d, err := t.answer(ctx, candidates)
	if err != nil {
		return d, err
	}
	t.reporter.update(func(r *wire.Report) { r.State, r.Candidates, r.Error = wire.Working, nil, "" })
	return d, nil
}

// answer waits for an answer that names one of the candidates.
func (t *task) answer(ctx context.Context, candidates []wire.Disk) (wire.Disk, error) {
	end := time.NewTimer(askLimit)
	defer end.Stop()
	var typed <-chan string
	if t.input != nil {
		typed = t.input()
	}
	for {
		var d *wire.Disk
		select {
		case <-ctx.Done():
			return wire.Disk{}, ctx.Err()
		case <-end.C:
			return wire.Disk{}, errors.New("nobody said which disk is meant within thirty minutes")
		case line := <-typed:
			if n, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && n >= 1 && n <= len(candidates) {
				d = &candidates[n-1]
			}
		case name := <-t.reporter.disk:
			d = hardware.Answer(candidates, name)
		}
		if d != nil {
			return *d, nil
		}
		t.screen.say("that is none of them")
	}
}
