package plan

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"slipcast/catalog/bundle"
	"slipcast/catalog/version"
)

// A Place is what lies at a path of the root now.
type Place struct {
	There bool
	Files int    // that lie below a folder; not used for anything else
	Owner string // the product or package that it belongs to; empty: nobody knows of one
}

// A Surveyor tells what a plan meets. Its methods are called from one
// goroutine.
type Surveyor interface {
	// Manifest returns the manifest of a step's bundle.
	Manifest(ctx context.Context, s *Step) (*bundle.Manifest, error)

	// Place tells what lies at a path, relative to the root, without following
	// a symbolic link.
	Place(ctx context.Context, path string) (Place, error)

	// Package returns the version of a package that is installed, and none as
	// an empty text.
	Package(ctx context.Context, name string) (string, error)
}

// An Effect is what becomes of a file or a package.
type Effect string

// The effects.
const (
	New        Effect = "new"
	Replaced   Effect = "replaced" // by another; of a package, by a higher version
	Edited     Effect = "edited"   // a line or a setting of it is changed
	Removed    Effect = "removed"
	Downgraded Effect = "downgraded" // a package, or a product
	Same       Effect = "same"       // a package that is there in this version
)

// An Impact is what a plan changes.
type Impact struct {
	Machines   int             `json:"machines"`
	Steps      int             `json:"steps"`
	Reboots    int             `json:"reboots"`
	Bytes      int64           `json:"bytes"`         // of the bundles' files, for one machine
	Written    int64           `json:"written_bytes"` // of contents, for one machine, besides what packages and programs write
	Files      []FileImpact    `json:"files"`         // ordered by path
	Owners     []OwnerImpact   `json:"owners"`        // of files that are there, ordered by name
	Packages   []PackageImpact `json:"packages"`      // ordered by name
	Downgrades []string        `json:"downgrades"`    // products and packages with both versions
	Programs   []string        `json:"programs"`      // that bundles run: what they change, nobody knows before
}

// A FileImpact is what becomes of one file, or of a folder that is removed.
type FileImpact struct {
	Path    string   `json:"path"`
	Effect  Effect   `json:"effect"`
	Files   int      `json:"files,omitempty"` // of a folder that is removed: how many go with it
	Owner   string   `json:"owner,omitempty"`
	Bundles []string `json:"bundles"` // that do it, in their order

	place Place
}

// An OwnerImpact is how many files of a product or package change.
type OwnerImpact struct {
	Name  string `json:"name"`
	Files int    `json:"files"`
}

// A PackageImpact is what becomes of one package.
type PackageImpact struct {
	Name   string `json:"name"`
	From   string `json:"from,omitempty"`
	To     string `json:"to"`
	Effect Effect `json:"effect"`
	Bundle string `json:"bundle"`
}

// Assess tells what p changes on a root that s knows, which machines machines
// are like. Errors are those of s.
func Assess(ctx context.Context, p *Plan, machines int, s Surveyor) (*Impact, error) {
	a := &assessment{
		ctx: ctx, surveyor: s, files: map[string]*FileImpact{}, packages: map[string]*PackageImpact{},
		impact: &Impact{Machines: machines, Steps: len(p.Steps), Reboots: p.Reboots(), Bytes: p.Bytes()},
	}
	for i := range p.Steps {
		step := &p.Steps[i]
		m, err := s.Manifest(ctx, step)
		if err == nil {
			err = a.step(step, m)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", step.Bundle, err)
		}
	}
	a.conclude()
	return a.impact, nil
}

// An assessment is an impact that is being made.
type assessment struct {
	ctx      context.Context
	surveyor Surveyor
	impact   *Impact
	files    map[string]*FileImpact
	packages map[string]*PackageImpact
}

// step adds what one bundle does.
func (a *assessment) step(s *Step, m *bundle.Manifest) error {
	if s.Downgrade {
		a.impact.Downgrades = append(a.impact.Downgrades, fmt.Sprintf("%s %s to %s", m.Product(), s.From, m.Version))
	}
	for i := range m.Payload {
		if err := a.payload(s.Bundle, m, &m.Payload[i]); err != nil {
			return err
		}
	}
	for _, r := range m.Run {
		a.impact.Programs = append(a.impact.Programs, fmt.Sprintf("%s: %s: %q", s.Bundle, r.Phase, r.Exec))
	}
	return nil
}

// payload adds one set of changes.
func (a *assessment) payload(id string, m *bundle.Manifest, p *bundle.Payload) error {
	switch {
	case p.Overlay != nil:
		return a.overlay(id, m, p.Overlay)
	case p.Line != nil:
		return a.edit(id, p.Line.Path, p.Line.Create)
	case p.Ini != nil:
		return a.edit(id, p.Ini.Path, p.Ini.Create)
	}
	for _, list := range []struct {
		scheme   string
		packages []bundle.Package
	}{{"deb", p.Deb}, {"rpm", p.RPM}} {
		for _, q := range list.packages {
			if err := a.pkg(id, list.scheme, q); err != nil {
				return err
			}
		}
	}
	return nil
}

// overlay adds files that are laid over the root. Folders that stay folders do
// not count.
func (a *assessment) overlay(id string, m *bundle.Manifest, o *bundle.Overlay) error {
	for _, path := range o.Delete {
		f, err := a.file(id, path)
		if err != nil {
			return err
		}
		f.Effect, f.Files = Removed, f.place.Files
	}
	for _, e := range o.Entries {
		if e.Type == bundle.Directory {
			continue
		}
		if e.Type == bundle.RegularFile && e.Data >= 0 && e.Data < len(m.Files) {
			a.impact.Written += m.Files[e.Data].Size
		}
		f, err := a.file(id, e.Path)
		if err != nil {
			return err
		}
		f.Effect, f.Files = New, 0
		if f.place.There {
			f.Effect = Replaced
		}
	}
	return nil
}

// edit adds a change within a file. One that is not there stays away unless it
// is to be created.
func (a *assessment) edit(id, path string, create bool) error {
	f, known := a.files[path]
	if !known {
		place, err := a.surveyor.Place(a.ctx, path)
		if err != nil {
			return err
		}
		f = &FileImpact{Path: path, Owner: place.Owner, Effect: Edited, place: place}
	}
	gone := f.Effect == Removed || !known && !f.place.There
	switch {
	case gone && !create:
		return nil
	case gone && f.place.There:
		f.Effect, f.Files = Replaced, 0
	case gone:
		f.Effect = New
	}
	a.files[path] = f
	f.by(id)
	return nil
}

// by adds a bundle to those that change the file.
func (f *FileImpact) by(id string) {
	if !slices.Contains(f.Bundles, id) {
		f.Bundles = append(f.Bundles, id)
	}
}

// file returns the entry of a path, to which the bundle is added.
func (a *assessment) file(id, path string) (*FileImpact, error) {
	f := a.files[path]
	if f == nil {
		place, err := a.surveyor.Place(a.ctx, path)
		if err != nil {
			return nil, err
		}
		f = &FileImpact{Path: path, Owner: place.Owner, place: place}
		a.files[path] = f
	}
	f.by(id)
	return f, nil
}

// pkg adds a package. Of several versions of one the last counts.
func (a *assessment) pkg(id, scheme string, q bundle.Package) error {
	p := a.packages[q.Name]
	if p == nil {
		from, err := a.surveyor.Package(a.ctx, q.Name)
		if err != nil {
			return err
		}
		p = &PackageImpact{Name: q.Name, From: from}
		a.packages[q.Name] = p
	}
	p.To, p.Bundle, p.Effect = q.Version, id, New
	if p.From != "" {
		effect, err := compareTexts(scheme, p.From, p.To)
		p.Effect = effect
		return err
	}
	return nil
}

// compareTexts returns the effect of a package that goes from one version to
// another.
func compareTexts(scheme, from, to string) (Effect, error) {
	v, err := version.Parse(scheme, from)
	if err != nil {
		return "", err
	}
	w, err := version.Parse(scheme, to)
	if err != nil {
		return "", err
	}
	switch order, err := v.Compare(w); {
	case err != nil:
		return "", err
	case order > 0:
		return Downgraded, nil
	case order < 0:
		return Replaced, nil
	}
	return Same, nil
}

// conclude orders what was found, and counts it.
func (a *assessment) conclude() {
	owners := map[string]int{}
	for _, f := range a.files {
		if f.Effect == Removed && !f.place.There {
			continue // it came and went within the plan, or was never there
		}
		a.impact.Files = append(a.impact.Files, *f)
		if f.place.There && f.Owner != "" {
			owners[f.Owner] += max(1, f.Files)
		}
	}
	slices.SortFunc(a.impact.Files, func(x, y FileImpact) int { return cmp.Compare(x.Path, y.Path) })
	for name, n := range owners {
		a.impact.Owners = append(a.impact.Owners, OwnerImpact{name, n})
	}
	slices.SortFunc(a.impact.Owners, func(x, y OwnerImpact) int { return cmp.Compare(x.Name, y.Name) })
	for _, p := range a.packages {
		a.impact.Packages = append(a.impact.Packages, *p)
	}
	slices.SortFunc(a.impact.Packages, func(x, y PackageImpact) int { return cmp.Compare(x.Name, y.Name) })
	for _, p := range a.impact.Packages {
		if p.Effect == Downgraded {
			a.impact.Downgrades = append(a.impact.Downgrades, fmt.Sprintf("package %s %s to %s", p.Name, p.From, p.To))
		}
	}
}

// Count returns how many files have an effect; those in folders that are removed
// count each.
func (i *Impact) Count(e Effect) int {
	n := 0
	for _, f := range i.Files {
		if f.Effect == e {
			n += max(1, f.Files)
		}
	}
	return n
}
