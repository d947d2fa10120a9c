package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"slipcast/agent/wire"
)

// maxCells is how much of a report may be cells, in bytes: it has a log, too.
const maxCells = 512 << 10

// apply brings the job's bundles to what was restored. The image is there and
// whole, so a bundle that cannot be brought is a note and a cell, and the machine
// may be used; but not one whose bundle is there by half.
func (t *task) apply(ctx context.Context, d wire.Disk) error {
	if len(t.job.Apply) == 0 {
		return nil
	}
	t.step("bundles")
	args, err := t.applyArgs()
	if err != nil {
		return err
	}
	found := &findings{failed: map[string]string{}}
	err = t.applied(ctx, d, args, found)
	t.reporter.update(func(r *wire.Report) { r.Cells = found.cells() })
	if found.left > 0 {
		t.note(fmt.Sprintf("%d products are not reported: there are too many", found.left))
	}
	var ended *childError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &ended) && ended.Code >= 0:
		t.note(ended.Error())
	case err != nil:
		return fmt.Errorf("bundles may be there by half: %w", err)
	}
	return nil
}

// applied runs the child. One that was killed is run again: it goes on with what
// is half done, or takes that back. So is one whose server was lost.
func (t *task) applied(ctx context.Context, d wire.Disk, args []string, found *findings) error {
	for tries := 1; ; tries++ {
		_, token := t.client.order()
		d, held, err := t.hold(d)
		if err != nil {
			return err
		}
		err = t.children.Run(ctx, child{
			Args: append(append([]string{"catalog", "apply", "--disk=/dev/" + d.Name}, args...), t.bundles()...),
			Env:  []string{"SLIPCAST_TOKEN=" + token}, Object: func(o object) { t.object(o); found.object(o) },
		})
		held.Close()
		if !applyAgain(err, tries) || !pause(ctx, fetchPause) {
			return err
		}
		t.screen.say("bundles: trying again: %v", err)
	}
}

// applyAgain tells whether a child that came to err is to be run once more.
func applyAgain(err error, tries int) bool {
	var ended *childError
	switch {
	case err == nil || tries == fetchTries:
		return false
	case nobody(err):
		return true
	case errors.As(err, &ended) && ended.Code >= 0:
		return false
	}
	return tries == 1
}

// bundles are the operands of the child.
func (t *task) bundles() []string {
	if t.job.Apply[0] == wire.ApplyAll {
		return nil
	}
	return t.job.Apply
}

// bundleFolder is where a session leaves files of bundles that came behind the
// image. It need not be there.
func (t *task) bundleFolder() string { return filepath.Join(t.folder, "bundles") }

// applyArgs are the flags that tell the child what the agent knows: the catalog
// and why it is to be trusted, and what the machine is called.
func (t *task) applyArgs() ([]string, error) {
	root, ticket := filepath.Join(t.folder, "root.json"), filepath.Join(t.folder, "proof.json")
	if err := errors.Join(os.WriteFile(root, t.root, 0o600), os.WriteFile(ticket, t.proof.ticket, 0o600)); err != nil {
		return nil, err
	}
	args := []string{
		"--json", "--yes", "--catalog=" + t.client.server() + "/api/v1/agent/catalog", "--pin=" + t.ticket.Pin,
		"--trust=" + root, "--ticket=" + ticket, "--nonce=" + t.proof.nonce.String(),
		"--files=" + t.bundleFolder(), "--ticket-machine=" + wire.MAC(t.inventory.MAC),
	}
	name := t.job.Hostname
	if name == "" {
		name = t.called
	}
	if name != "" {
		args = append(args, "--name="+name)
	}
	return args, nil
}

// findings are what a child says of products, in their order.
type findings struct {
	products []string
	byName   map[string]wire.Cell
	failed   map[string]string // why the last attempt at a bundle of a product failed
	size     int               // bytes as JSON
	left     int               // products that have no room
}

// object takes what the child says. A product may come again: the last counts.
func (f *findings) object(o object) {
	name, _, _ := strings.Cut(o.Bundle, "@")
	tried := wire.Plain(name, wire.MaxField)
	switch o.Type {
	case "failed":
		f.failed[tried] = wire.Plain(o.Reason, wire.MaxText)
	case "applied": // so what failed before, when the server was lost, does not count
		delete(f.failed, tried)
	case "product":
		f.product(wire.Cell{
			Product: wire.Plain(o.Product, wire.MaxField), Version: wire.Plain(o.Version, wire.MaxField), State: wire.CellState(wire.Plain(o.State, 32)),
			Severity: wire.Plain(o.Severity, 20), Reason: wire.Plain(o.Reason, wire.MaxText),
		})
	}
}

func (f *findings) product(c wire.Cell) {
	if c.Good() {
		c.Reason = ""
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // it is texts
	}
	if f.byName == nil {
		f.byName = map[string]wire.Cell{}
	}
	_, again := f.byName[c.Product]
	if !again && (len(f.products) == wire.MaxCells || f.size+len(text) > maxCells) {
		f.left++
		return
	}
	if !again {
		f.products, f.size = append(f.products, c.Product), f.size+len(text)
	}
	f.byName[c.Product] = c
}

// cells returns what is reported.
func (f *findings) cells() []wire.Cell {
	var list []wire.Cell
	for _, name := range f.products {
		c := f.byName[name]
		if why, ok := f.failed[name]; ok && !c.Good() {
			c.State, c.Reason = wire.CellFailed, why
		}
		list = append(list, c)
	}
	return list
}
