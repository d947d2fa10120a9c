package bundle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
)

// BuildOptions say how a bundle is built. The zero value is fine.
type BuildOptions struct {
	Workers  int               // frames that are compressed side by side; 0 is one for each processor
	Progress func(bytes int64) // is called with bytes of contents that have gone into the bundle; nil is allowed

	// Ready is called with the manifest before anything is written. An error
	// of it ends Build with that. It may be nil.
	Ready func(m *Manifest) error
}

// Build reads bundle.yaml and the files that it names in dir, docs/bundles.md,
// section 6, and writes the bundle to w. Nothing outside of dir is read. The
// same folder gives the same bytes whatever owners, times and umask are. What is wrong
// with bundle.yaml is told with its line. If there is an error, what was
// written to w is worth nothing.
func Build(ctx context.Context, dir string, w io.Writer, opt BuildOptions) (*Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b := &builder{ctx: ctx, root: root, contents: map[string]int{}}
	m, err := b.manifest()
	if err != nil {
		return nil, err
	}
	if opt.Workers < 1 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.Ready != nil {
		if err := opt.Ready(m); err != nil {
			return nil, err
		}
	}
	return m, b.write(w, m, opt)
}

// A builder makes a manifest of a folder.
type builder struct {
	ctx      context.Context
	root     *os.Root
	m        Manifest
	contents map[string]int // digest → number in m.Files
	sources  []string       // of m.Files: where their contents are
}

// manifest makes the manifest of the folder.
func (b *builder) manifest() (*Manifest, error) {
	text, err := b.readSmall(yamlName, maxYAML)
	if err != nil {
		return nil, err
	}
	r, err := readRecipe(text)
	if err != nil {
		return nil, err
	}
	b.m.Header, b.m.Allow = r.header, r.allow
	if err := b.fill(r); err != nil {
		return nil, r.place(err)
	}
	b.m.Machine = b.m.asksMachine()
	var l layout
	for i := range b.m.Files {
		b.m.Files[i].Offset = l.add(i, b.m.Files[i].Size)
	}
	if err := b.m.check(); err != nil {
		return nil, r.place(err)
	}
	return &b.m, r.place(b.checkExpanded())
}

// fill adds what the recipe makes of the files in the folder.
func (b *builder) fill(r *recipe) error {
	for i := range r.payload {
		p, err := b.payload(&r.payload[i])
		if err != nil {
			return at(fmt.Sprintf("payload[%d]", i), err)
		}
		b.m.Payload = append(b.m.Payload, p)
	}
	for i := range r.run {
		run, err := b.program(&r.run[i])
		if err != nil {
			return at(fmt.Sprintf("run[%d]", i), err)
		}
		b.m.Run = append(b.m.Run, run)
	}
	return nil
}

// place turns a fault into an error with the line that it comes from.
func (r *recipe) place(err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	for where := f.where; where != ""; where = where[:max(0, strings.LastIndexAny(where, ".["))] {
		if line, ok := r.lines[where]; ok {
			return &lineError{line, err}
		}
	}
	return fmt.Errorf("%s: %w", yamlName, err)
}

// payload makes one payload.
func (b *builder) payload(r *recipePayload) (p Payload, err error) {
	p.Line, p.Ini = r.line, r.ini
	if r.overlay != nil {
		if p.Overlay, err = b.overlay(r.overlay); err != nil {
			return p, at("overlay", err)
		}
	}
	if p.Deb, err = b.packages(r.deb, debKind); err != nil {
		return p, at("deb", err)
	}
	if p.RPM, err = b.packages(r.rpm, rpmKind); err != nil {
		return p, at("rpm", err)
	}
	return p, nil
}

// glob returns the files of the folder that match one of the globs, in order.
func (b *builder) glob(globs []string) ([]string, error) {
	var names []string
	for i, g := range globs {
		list, err := fs.Glob(b.root.FS(), g)
		if err == nil && len(list) == 0 {
			err = fmt.Errorf("no file is called %q", g)
		}
		if err != nil {
			return nil, at(fmt.Sprintf("[%d]", i), err)
		}
		names = append(names, list...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// packages describes the packages that match globs.
func (b *builder) packages(globs []string, kind packageKind) ([]Package, error) {
	names, err := b.glob(globs)
	if err != nil {
		return nil, err
	}
	var list []Package
	for _, name := range names {
		p, err := b.describe(name, kind)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// describe makes the description of the package in a file.
func (b *builder) describe(name string, kind packageKind) (p Package, err error) {
	f, info, err := b.open(name)
	if err != nil {
		return p, err
	}
	defer f.Close()
	if kind.name == debKind.name {
		p, err = readDeb(f)
	} else {
		p, err = readRPM(f, info.Size())
	}
	if err != nil {
		return p, err
	}
	p.File = info.Name()
	if err := kind.check(&p); err != nil {
		return p, err
	}
	p.Data, err = b.add(name)
	return p, err
}
