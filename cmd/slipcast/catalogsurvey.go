package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/apply"
	"slipcast/catalog/bake"
	"slipcast/catalog/plan"
	"slipcast/catalog/probe"
	"slipcast/catalog/root"
	"slipcast/image"
)

// A surveyFlag says what is looked at: a root, a disk or an image; and by which
// catalog.
type surveyFlag struct {
	catalog catalogFlag
	root    rootFlag
	image   string
	machine machineFlag
	scratch string // folder for what is written to a copy of the image
}

// addSurveyFlags adds the flags that all commands have that look at a system
// and change nothing.
func addSurveyFlags(cmd *cobra.Command, f *surveyFlag) {
	addCatalogFlags(cmd, &f.catalog)
	addRootFlags(cmd, &f.root)
	cmd.Flags().StringVar(&f.image, "image", "", "the system in `IMAGE`, a file or an image in the store")
	addMachineFlag(cmd, &f.machine, "the system that the machine `NAME` got last, as if it were on that machine")
}

// title returns what people call the system.
func (f *surveyFlag) title() string {
	switch {
	case f.machine.name != "":
		return f.machine.name
	case f.image != "":
		return f.image
	case f.root.disk != "":
		return f.root.disk
	}
	return f.root.dir
}

// A surveyTask says what is found out. It is handed to the process that has the
// image mounted, as JSON.
type surveyTask struct {
	Catalog    string // path of the folder, or its URL
	Pin        pin    // of the server at that URL
	Trust      string // path of the root that is trusted; empty: the folder's own
	Root       string // digest of the image
	Goals      []string
	Params     map[string]map[string]string
	Downgrade  bool
	Saved      []byte // a plan that must hold; nil: a new one is made
	Impact     bool   // find out what the plan changes, too
	Machines   int
	Machine    *probe.Machine // that the image is for; nil: none
	Unreleased []string       // paths of bundles that are looked at as if they were released
}

// A survey is what was found out.
type survey struct {
	Plan     *plan.Plan
	Receipts []plan.Receipt
	Impact   *plan.Impact
}

// run looks at the system.
func (f *surveyFlag) run(ctx context.Context, env *env, task surveyTask) (*survey, error) {
	if f.image != "" || f.machine.name != "" {
		if f.root.dir != "" || f.root.disk != "" || f.image != "" && f.machine.name != "" {
			return nil, usagef("which system is meant? --image, --machine, --root and --disk exclude each other")
		}
		return f.runImage(ctx, env, task)
	}
	catalog, err := f.catalog.open(ctx, env)
	if err != nil {
		return nil, err
	}
	r, closer, err := f.root.open(ctx, true)
	if err != nil {
		return nil, err
	}
	if task.Root, err = planRoot(ctx, r, f.root.dir); err != nil {
		return nil, errors.Join(err, closer())
	}
	s, err := task.survey(ctx, catalog, r, localMachine(f.machineName(), f.catalog.machine))
	if err == nil && f.root.dir == "/" {
		err = s.pendingReboots(r)
	}
	return s, errors.Join(err, closer())
}

func (f *surveyFlag) machineName() string { return (&applyOptions{}).machineName() }

// surveyJob is the name of the job that looks at an image.
const surveyJob = "survey"

// catalogJobs are what this program does to the root in an image in a process of
// its own, besides baking.
func catalogJobs() map[string]bake.Job { return map[string]bake.Job{surveyJob: surveyImage} }

// runImage looks at an image, which a process of its own has mounted meanwhile.
func (f *surveyFlag) runImage(ctx context.Context, env *env, task surveyTask) (s *survey, err error) {
	if _, err := f.catalog.open(ctx, env); err != nil { // tell what is wrong with it before anything is mounted
		return nil, err
	}
	ref, digest := f.image, ""
	if f.machine.name != "" {
		if ref, digest, task.Machine, err = f.machine.restored(ctx); err != nil {
			return nil, err
		}
	}
	im, err := openImageFile(ctx, ref, &imageFlags{storeFlag: f.catalog.storeFlag})
	if errors.Is(err, image.ErrDamaged) || errors.Is(err, image.ErrNotImage) {
		err = fmt.Errorf("%s: %w", ref, err)
	}
	if err != nil {
		return nil, err
	}
	defer im.Close()
	if digest != "" && im.Digest.String() != digest {
		return nil, fmt.Errorf("%s is not the image any more that %s got", ref, f.machine.name)
	}
	c, err := bake.NewCopy(im.Image, bake.CopyOptions{Scratch: f.scratch})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if task.Catalog, task.Pin = f.catalog.folder(), f.catalog.pin; !isRemote(task.Catalog) {
		if task.Catalog, err = filepath.Abs(task.Catalog); err != nil {
			return nil, err
		}
	}
	if f.catalog.root != "" {
		if task.Trust, err = filepath.Abs(f.catalog.root); err != nil {
			return nil, err
		}
	}
	for _, path := range f.catalog.unreleased {
		if path, err = filepath.Abs(path); err != nil {
			return nil, err
		}
		task.Unreleased = append(task.Unreleased, path)
	}
	task.Root = im.Digest.String()
	s = new(survey)
	return s, c.Run(ctx, bake.Task{Job: surveyJob, Input: task, ReadOnly: true}, s)
}

// folder returns the folder of the catalog, or its URL.
func (f *catalogFlag) folder() string {
	if f.dir != "" {
		return f.dir
	}
	return filepath.Join(f.storeFlag.dir, "catalog")
}

// surveyImage looks at the root in an image.
func surveyImage(ctx context.Context, r *root.Root, w *bake.Work) (any, error) {
	var task surveyTask
	if err := w.Input(&task); err != nil {
		return nil, err
	}
	f := catalogFlag{dir: task.Catalog, pin: task.Pin, root: task.Trust, unreleased: task.Unreleased}
	f.settle = func() error { return nil }
	catalog, err := f.open(ctx, &env{stderr: os.Stderr, quiet: true})
	if err != nil {
		return nil, err
	}
	return task.survey(ctx, catalog, r, task.Machine)
}

// survey looks at a root.
func (t *surveyTask) survey(ctx context.Context, catalog *openCatalog, r *root.Root, m *probe.Machine) (*survey, error) {
	receipts, err := apply.Receipts(r)
	if err != nil {
		return nil, err
	}
	s := &survey{Receipts: planReceipts(receipts)}
	probes := probe.New(r, m)
	found, err := catalog.plans.Look(ctx, &detector{probes, catalog, receipts}, plan.LookOptions{Receipts: s.Receipts, Machine: m != nil})
	if err != nil {
		return nil, err
	}
	s.Plan, err = t.plan(catalog, found)
	if err != nil || !t.Impact {
		return s, err
	}
	s.Impact, err = plan.Assess(ctx, s.Plan, t.Machines, newSurveyor(catalog, r, probes, receipts))
	return s, err
}

// plan makes a plan, or makes sure that the one that was saved holds.
func (t *surveyTask) plan(catalog *openCatalog, found *plan.Findings) (*plan.Plan, error) {
	if t.Saved == nil {
		return catalog.plans.Resolve(found, plan.Options{
			Goals: t.Goals, Downgrade: t.Downgrade, Root: t.Root, Version: catalog.Versions.Targets, Params: t.Params,
		})
	}
	p, err := plan.Decode(t.Saved)
	if err != nil {
		return nil, err
	}
	done, err := catalog.plans.Check(p, found, t.Root)
	if err != nil {
		return nil, err
	}
	p.Steps = p.Steps[done:]
	return p, nil
}

// pendingReboots notes which bundles were applied since the running system was
// started, and take effect only when it is started anew.
func (s *survey) pendingReboots(r *root.Root) error {
	started, err := bootTime()
	if err != nil {
		return err
	}
	receipts, err := apply.Receipts(r)
	if err != nil {
		return err
	}
	for i := range receipts {
		s.Receipts[i].Reboot = waitsForReboot(&receipts[i], started)
	}
	return nil
}

// waitsForReboot tells whether a bundle takes effect only when the system is
// started anew, and that has not happened.
func waitsForReboot(r *apply.Receipt, started time.Time) bool {
	wants := r.Reboot != "" && r.Reboot != "never" || len(r.Queue) > 0
	return wants && !r.Time.Before(started)
}

// bootTime returns when the running system was started: proc(5), /proc/stat.
func bootTime() (time.Time, error) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return time.Time{}, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "btime "); ok {
			seconds, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
			return time.Unix(seconds, 0), err
		}
	}
	return time.Time{}, fmt.Errorf("%s does not say when the system was started", f.Name())
}
