package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"slipcast/catalog/apply"
	"slipcast/catalog/bundle"
	"slipcast/catalog/plan"
	"slipcast/catalog/probe"
	"slipcast/catalog/root"
	"slipcast/internal/progress"
)

// impactOptions say of what the impact is told.
type impactOptions struct {
	survey   surveyFlag
	bundles  []string
	machines int
	all      bool
}

func newCatalogImpactCmd(env *env) *cobra.Command {
	var opt impactOptions
	cmd := &cobra.Command{
		Use:   "impact [FILE...]",
		Short: "Tell what the catalog would change on a system",
		Long: `Impact tells what a plan would change on a system before it runs: the files that
are new, replaced, edited or removed and whose they are, packages, versions that
go down, bytes and reboots. It changes nothing. What programs of bundles do,
nobody knows before: they are listed.

With FILE it is what these bundles would change if they were released.`,
		Example: `  slipcast catalog impact --image room-12 --machines 30
  slipcast catalog impact --root /mnt --bundles reader --all
  slipcast catalog impact reader@9.3-1.slb --image room-12`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			opt.survey.catalog.unreleased = args
			if err := runCatalogImpact(cmd.Context(), env, &opt); err != nil {
				return fmt.Errorf("impact: %w", err)
			}
			return nil
		},
	}
	addSurveyFlags(cmd, &opt.survey)
	f := cmd.Flags()
	f.StringSliceVar(&opt.bundles, "bundles", nil, "of these alone, and what they require: `NAME,...`, each maybe with @VERSION or @VERSION-RELEASE")
	f.IntVar(&opt.machines, "machines", 1, "`N` machines are like this system")
	f.BoolVar(&opt.all, "all", false, "list every file")
	return cmd
}

// goals returns the bundles that are meant: those that are named, or in the files
// that are given; none are all.
func (opt *impactOptions) goals() ([]string, error) {
	goals := opt.bundles
	if len(goals) > 0 {
		return goals, nil
	}
	for _, path := range opt.survey.catalog.unreleased {
		b, err := openBundleFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		goals = append(goals, b.Manifest.ID())
		if err := b.Close(); err != nil {
			return nil, err
		}
	}
	return goals, nil
}

// runCatalogImpact plans, and tells what that changes.
func runCatalogImpact(ctx context.Context, env *env, opt *impactOptions) error {
	if opt.machines < 1 {
		return usagef("--machines: %d is not a number from 1", opt.machines)
	}
	goals, err := opt.goals()
	if err != nil {
		return err
	}
	s, err := opt.survey.run(ctx, env, surveyTask{Goals: goals, Impact: true, Machines: opt.machines})
	if err != nil {
		return err
	}
	if env.json {
		return s.Impact.WriteJSON(env.stdout)
	}
	return s.Impact.WriteText(env.stdout, opt.all, progress.Bytes)
}

// A surveyor tells what a plan meets on a root.
type surveyor struct {
	catalog *openCatalog
	root    *root.Root
	probes  *probe.Probes
	owners  map[string]string // of paths, by receipts
	dpkg    map[string]string // of paths, by dpkg; nil: not read yet
}

var _ plan.Surveyor = (*surveyor)(nil)

func newSurveyor(catalog *openCatalog, r *root.Root, probes *probe.Probes, receipts []apply.Receipt) *surveyor {
	s := &surveyor{catalog: catalog, root: r, probes: probes, owners: map[string]string{}}
	for i := range receipts {
		for _, p := range receipts[i].Paths {
			s.owners[string(p.Path)] = receipts[i].Product()
		}
	}
	return s
}

// Manifest implements plan.Surveyor.
func (s *surveyor) Manifest(_ context.Context, step *plan.Step) (*bundle.Manifest, error) {
	file, err := s.catalog.bundle(step.Bundle)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Manifest, nil
}

// Package implements plan.Surveyor.
func (s *surveyor) Package(ctx context.Context, name string) (string, error) {
	v, err := s.probes.Probe(ctx, "pkg", name)
	text, _ := v.(string)
	return text, err
}

// Place implements plan.Surveyor.
func (s *surveyor) Place(ctx context.Context, path string) (plan.Place, error) {
	stat, err := s.root.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return plan.Place{}, nil
	}
	if err != nil {
		return plan.Place{}, err
	}
	p := plan.Place{There: true}
	if stat.Type == root.Directory {
		p.Files, err = s.count(ctx, path, 0)
	}
	if err == nil {
		p.Owner, err = s.owner(path)
	}
	return p, err
}

// deepest is how deep folders are counted.
const deepest = 256

// count returns how many files lie below a folder.
func (s *surveyor) count(ctx context.Context, path string, depth int) (int, error) {
	names, err := s.root.ReadDir(path)
	if err != nil || depth > deepest {
		return 0, err
	}
	n := 0
	for _, name := range names {
		below := path + "/" + name
		stat, err := s.root.Lstat(below)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return n, err
		}
		if stat.Type != root.Directory {
			n++
			continue
		}
		more, err := s.count(ctx, below, depth+1)
		if n += more; err != nil {
			return n, err
		}
	}
	return n, nil
}

// owner returns the product or package that a path belongs to.
func (s *surveyor) owner(path string) (string, error) {
	if name := s.owners[path]; name != "" {
		return name, nil
	}
	if s.dpkg == nil {
		s.dpkg = map[string]string{}
		if err := s.readLists(); err != nil {
			return "", err
		}
	}
	name := s.dpkg[path]
	if name == "" {
		name = s.dpkg[strings.TrimPrefix(path, "usr/")] // a package may say bin where usr/bin is meant
	}
	if name == "" {
		return "", nil
	}
	return "package " + name, nil
}

// lists is where dpkg keeps which files its packages have: dpkg-query(1).
const lists = "var/lib/dpkg/info"

// maxLists is how many bytes all lists may have together. A desktop has 40 MB.
const maxLists = 512 << 20

// readLists reads dpkg's lists of files. Without dpkg there are none.
func (s *surveyor) readLists() error {
	names, err := s.root.ReadDir(lists)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	left := int64(maxLists)
	for _, name := range names {
		if pkg, ok := strings.CutSuffix(name, ".list"); ok {
			if err := s.readList(lists+"/"+name, pkg, &left); err != nil {
				return err
			}
		}
	}
	return nil
}

// readList reads the list of one package.
func (s *surveyor) readList(path, pkg string, left *int64) error {
	f, err := s.root.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	limited := &io.LimitedReader{R: f, N: *left}
	lines := bufio.NewScanner(limited)
	for lines.Scan() {
		s.dpkg[strings.TrimPrefix(lines.Text(), "/")] = pkg
	}
	if *left = limited.N; *left <= 0 {
		return fmt.Errorf("%s: the lists of dpkg have more than %d bytes", path, int64(maxLists))
	}
	return lines.Err()
}
