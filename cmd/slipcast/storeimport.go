package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"slipcast/catalog/depot"
	"slipcast/internal/progress"
)

func newStoreImportCmd(env *env) *cobra.Command {
	var opt depotFlags
	cmd := &cobra.Command{
		Use:   "import PART...|DIR",
		Short: "Take what slipcast store export has written",
		Long: `Import takes parts of an export, or all that lie in the folder DIR: in any order, some
today and some tomorrow, and each as often as one likes. What is good in them is kept
aside until what it belongs to is whole. When nothing is missing any more the catalog
takes its place, and until then the store has the one that it had.

A part that is damaged is named, with what could not be taken from it; what is missing
is named, with the parts that have it. Nothing is believed that comes on a stick: the
catalog is checked as a machine does it, from the root of --trust the first time, and
later from the store's own, and everything else by the catalog.`,
		Example: `  slipcast store import --trust root.json /media/stick
  slipcast store import slipcast-7-003.slx slipcast-7-001.slx`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("store import: PART or DIR is missing")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := runStoreImport(cmd.Context(), env, args, &opt); err != nil {
				return fmt.Errorf("importing: %w", depotError(err))
			}
			return nil
		},
	}
	addDepotFlags(cmd, &opt)
	return cmd
}

// partPaths returns the parts that are named, and those in folders that are.
func partPaths(args []string) (paths []string, err error) {
	for _, arg := range args {
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			paths = append(paths, arg)
			continue
		}
		parts, err := depot.Parts(arg)
		if err != nil {
			return nil, err
		}
		if len(parts) == 0 {
			return nil, usagef("there is no part (*.slx) in %s", plain(arg, 200))
		}
		paths = append(paths, parts...)
	}
	return paths, nil
}

func runStoreImport(ctx context.Context, env *env, args []string, opt *depotFlags) error {
	s, err := opt.open()
	if err != nil {
		return err
	}
	root, err := opt.trusted()
	if err != nil {
		return err
	}
	paths, err := partPaths(args)
	if err != nil {
		return err
	}
	began := time.Now()
	var meter *progress.Meter
	done, err := depot.Import(ctx, s, paths, depot.ImportOptions{
		Root: root, Built: builtAt(),
		Begin:    func(total int64) { meter = env.meter("importing", "import", total) },
		Progress: func(n int64) { meter.Add(n) },
	})
	if meter != nil {
		meter.Done(err)
	}
	if done != nil {
		env.imported(s.Dir(), done, time.Since(began))
	}
	if err != nil || len(done.Missing) == 0 {
		return err
	}
	has := "that it had"
	if c := done.Catalog; c != nil {
		has = fmt.Sprintf("of snapshot %d", c.Versions.Snapshot)
	}
	return &partError{fmt.Errorf("%s missing; the store has the catalog %s", isAre(len(done.Missing), "thing"), has)}
}

// isAre says how many things there are: "1 thing is", "2 things are".
func isAre(n int, thing string) string {
	if n == 1 {
		return count(n, thing) + " is"
	}
	return count(n, thing) + " are"
}

// imported tells what an import has done: first what is wrong.
func (e *env) imported(dir string, done *depot.Imported, took time.Duration) {
	for _, f := range done.Faults {
		e.importFault(f)
	}
	for _, m := range done.Missing {
		e.importMissing(m)
	}
	o := map[string]any{
		"type": "imported", "store": dir, "complete": done.Catalog != nil, "parts": done.Parts, "bundles": done.Bundles, "images": done.Images,
		"damaged_parts": len(done.Faults), "missing": len(done.Missing), "seconds": took.Seconds(),
	}
	if c := done.Catalog; c != nil {
		if c.Expired {
			e.note(dir, "the catalog has expired, and machines take nothing of it")
		}
		versionsObject(o, c.Versions)
		o["expires"] = rfc3339(c.Expires)
		e.sum(fmt.Sprintf("imported snapshot %d in %s", c.Versions.Snapshot, progress.Duration(took)),
			fact{"came", fmt.Sprintf("%s, %s", count(done.Bundles, "bundle"), count(done.Images, "image"))},
			fact{"catalog", fmt.Sprintf("version %d of the list, good until %s; whether there is a newer one, nobody here can know", c.Versions.Targets, clock(c.Expires))})
	}
	e.result(o, false)
}

// longestLost is how many pieces of a damaged part are named to people.
const longestLost = 10

// importFault tells of a part that is damaged.
func (e *env) importFault(f depot.Fault) {
	if e.json {
		e.object(e.stdout, map[string]any{"type": "damaged_part", "part": f.Part, "text": f.Err.Error(), "lost": append([]string{}, f.Lost...)})
		return
	}
	e.print(e.stdout, "%s is damaged: %s\n", plain(f.Part, 4096), plain(f.Err.Error(), 1000))
	for i, name := range f.Lost {
		if i == longestLost {
			e.print(e.stdout, "  and %d more\n", len(f.Lost)-i)
			return
		}
		e.print(e.stdout, "  lost %s\n", plain(name, 300))
	}
}

// importMissing tells of something that has not come.
func (e *env) importMissing(m depot.Missing) {
	if e.json {
		e.object(e.stdout, map[string]any{"type": "missing", "id": m.ID, "chunks": m.Chunks, "parts": append([]string{}, m.Parts...)})
		return
	}
	what := m.ID
	if m.Chunks > 0 {
		what = fmt.Sprintf("%s of %s", count(m.Chunks, "chunk"), m.ID)
	}
	where := "in no part that has come or is known; export without --since has it"
	if len(m.Parts) > 0 {
		where = strings.Join(m.Parts, " ")
	}
	e.print(e.stdout, "missing: %s: %s\n", what, where)
}
