package apply

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
	"slipcast/catalog/sandbox"
)

// hasPrograms reports whether applying a bundle runs anything.
func hasPrograms(m *bundle.Manifest) bool {
	runs := slices.ContainsFunc(m.Run, func(r bundle.Run) bool { return r.Phase != bundle.FirstBoot })
	return runs || slices.ContainsFunc(m.Payload, func(p bundle.Payload) bool { return len(p.Deb)+len(p.RPM) > 0 })
}

// A stand is the overlay in which the programs of a bundle run.
type stand struct {
	*compiler
	o      *sandbox.Overlay
	dir    string // folder for files of the bundle
	opt    Options
	labels map[string][]byte // that the bundle asks for, by the path that they lead to
}

// programs does everything that a bundle does in an overlay of r, and lays
// what is different then into the draft of into. done ends the overlay, which
// the draft reads from.
func programs(ctx context.Context, r *root.Root, into *compiler, opt Options) (done func() error, err error) {
	scratch, err := os.MkdirTemp(opt.Scratch, "slipcast-")
	if err != nil {
		return nil, err
	}
	opt.Log = redacted(opt.Log, into.manifest.Params, into.params)
	s := &stand{compiler: into, dir: filepath.Join(scratch, "files"), opt: opt, labels: map[string][]byte{}}
	overlay := filepath.Join(scratch, "overlay")
	for _, dir := range []string{s.dir, overlay} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, errors.Join(err, os.RemoveAll(scratch))
		}
	}
	if s.o, err = sandbox.New(ctx, r, overlay, sandbox.Options{}); err != nil {
		return nil, errors.Join(err, os.RemoveAll(scratch))
	}
	done = func() error { return errors.Join(s.o.Close(), os.RemoveAll(scratch)) }
	if err := s.all(ctx); err != nil {
		return nil, errors.Join(err, done())
	}
	return done, nil
}

// all does what section 9.3, step 2, says.
func (s *stand) all(ctx context.Context) error {
	if err := s.phase(ctx, bundle.Pre); err != nil {
		return err
	}
	for i := range s.manifest.Payload {
		if err := s.part(ctx, &s.manifest.Payload[i]); err != nil {
			return err
		}
	}
	if err := s.phase(ctx, bundle.Post); err != nil {
		return err
	}
	changes, err := s.o.Changes(ctx)
	if err != nil {
		return err
	}
	for _, links := range []bool{false, true} { // a hard link may come before what it names
		for i := range changes {
			if (changes[i].Kind == sandbox.Hardlink) != links {
				continue
			}
			if err := s.take(changes[i]); err != nil {
				return at(changes[i].Path, err)
			}
		}
	}
	return s.relabel()
}

// part does one set of changes in the overlay.
func (s *stand) part(ctx context.Context, p *bundle.Payload) error {
	opt := sandbox.PackageOptions{AllowDowngrade: s.opt.AllowDowngrade, Line: s.opt.Log, Timeout: time.Hour}
	switch {
	case len(p.Deb) > 0:
		list, err := s.packages(p.Deb)
		if err != nil {
			return err
		}
		return sandbox.InstallDebs(ctx, s.o, list, opt)
	case len(p.RPM) > 0:
		list, err := s.packages(p.RPM)
		if err != nil {
			return err
		}
		return sandbox.InstallRPMs(ctx, s.o, list, opt)
	}
	d := tree{r: s.o.Root()}
	c := newCompiler(newDraft(d), s.manifest, s.data, s.params)
	if err := c.payload(p); err != nil {
		return err
	}
	for real, claim := range c.claims {
		s.claims[real] = claim
	}
	for real, w := range c.wants {
		if label := w.node.labelOf(); label != nil {
			s.labels[real] = label
		}
	}
	steps, sources, err := c.steps(ctx, timeOf(s.opt.Time))
	if err != nil {
		return err
	}
	return layNow(newEngine(d, "."), steps, sources)
}

// layNow does steps at once: what they change is thrown away if anything goes
// wrong.
func layNow(e *engine, steps []step, sources map[int]source) error {
	first := map[int]string{}
	for i := len(steps) - 1; i >= 0; i-- {
		if err := e.clear(&steps[i]); err != nil {
			return at(string(steps[i].Path), err)
		}
	}
	for i := range steps {
		if err := e.layStep(&steps[i], sources, first); err != nil {
			return at(string(steps[i].Path), err)
		}
	}
	for i := len(steps) - 1; i >= 0; i-- {
		if err := e.finishStep(&steps[i]); err != nil {
			return at(string(steps[i].Path), err)
		}
	}
	return nil
}

func (e *engine) layStep(s *step, sources map[int]source, first map[int]string) error {
	p := string(s.Path)
	switch {
	case s.After == nil || s.inPlace() || s.How == nothing:
		return nil
	case s.After.dir():
		return e.makeDir(p)
	}
	if err := e.absent(p); err != nil {
		return err
	}
	if other, ok := first[s.After.Data]; ok {
		return e.d.link(other, p)
	}
	first[s.After.Data] = p
	return e.lay(e.volume(p), p, sources[s.After.Data], s.After)
}

// take lays one difference between the overlay and the root into the draft.
// Its path leads through no links, and names what changes itself: a directory
// in the place of a link is one, unlike in an overlay of the bundle.
func (s *stand) take(c sandbox.Change) error {
	const origin = "a program of the bundle"
	if c.Kind == sandbox.Delete {
		return s.drop(c.Path, origin)
	}
	claim, laid := s.claims[Name(c.Path)]
	w := &want{origin: origin, own: laid && claim.kind == "lays"}
	if c.Kind == sandbox.Hardlink {
		st, err := s.node(c.Link)
		if err != nil || st == nil {
			return errors.Join(err, fmt.Errorf("hard link to %s, which is not there", c.Link))
		}
		w.node, w.same = st, c.Link
		return s.place(c.Path, w)
	}
	w.node = nodeOf(c)
	switch {
	case w.node.Type == Special:
		return fmt.Errorf("%s: a bundle cannot make it", c.Stat.Type)
	case c.Kind == sandbox.Attributes && w.node.Type == File:
		w.inside = true
		w.src.open = func() (io.ReadCloser, error) { return s.d.open(c.Path) }
	case w.node.Type == File:
		w.src.open = func() (io.ReadCloser, error) { return s.o.Open(c) }
	}
	return s.place(c.Path, w)
}

// nodeOf returns what a change makes.
func nodeOf(c sandbox.Change) *Node {
	n := &Node{Type: typeOf(c.Stat.Type), Mode: c.Stat.Mode, UID: c.Stat.UID, GID: c.Stat.GID, Size: c.Stat.Size, Link: Name(c.Link)}
	for _, x := range c.Xattrs {
		n.Xattrs = append(n.Xattrs, bundle.Xattr{Name: x.Name, Value: x.Value})
	}
	switch n.Type {
	case Symlink:
		n.Mode = 0
	case Dir:
		return n // its time is that of what happens in it
	}
	n.Time = Time{Sec: c.Stat.ModTime.Sec, Nsec: c.Stat.ModTime.Nsec}
	return n
}

// phase runs the programs of a phase, in their order.
func (s *stand) phase(ctx context.Context, phase bundle.Phase) error {
	for i := range s.manifest.Run {
		run := &s.manifest.Run[i]
		if run.Phase != phase {
			continue
		}
		if err := s.program(ctx, run); err != nil {
			return fmt.Errorf("%s program %s: %w", phase, run.Exec[0], err)
		}
	}
	return nil
}

func (s *stand) program(ctx context.Context, run *bundle.Run) error {
	p := sandbox.Program{
		Env: environment(s.manifest, run, s.params), Net: run.Net, Timeout: time.Duration(run.Timeout) * time.Second, Line: s.opt.Log,
	}
	p.Exec = words(run, s.params)
	for _, script := range run.Scripts {
		file, err := s.file(script.Name, script.Data, os.FileMode(script.Mode))
		if err != nil {
			return err
		}
		p.Files = append(p.Files, sandbox.File{Name: script.Name, Source: file})
	}
	result, err := s.o.Run(ctx, p)
	if err != nil {
		return err
	}
	if !slices.Contains(run.OK, result.Code) && !slices.Contains(run.Reboot, result.Code) {
		return fmt.Errorf("exit code %d", result.Code)
	}
	return nil
}

// words returns program and arguments of a run. A script is in the folder in
// which it starts.
func words(run *bundle.Run, params map[string]string) []string {
	var list []string
	for i, word := range run.Exec {
		word = string(expand([]byte(word), params))
		if i == 0 && slices.ContainsFunc(run.Scripts, func(s bundle.Script) bool { return s.Name == word }) {
			word = "./" + word
		}
		list = append(list, word)
	}
	return list
}

// environment is what a program finds beyond what every program has.
func environment(m *bundle.Manifest, run *bundle.Run, params map[string]string) map[string]string {
	env := map[string]string{"SLIPCAST_BUNDLE": m.ID(), "SLIPCAST_PHASE": string(run.Phase)}
	for name, value := range params {
		env["SLIPCAST_PARAM_"+name] = value
	}
	return env
}

// packages writes packages of the bundle where package managers find them.
func (s *stand) packages(list []bundle.Package) ([]sandbox.Package, error) {
	var out []sandbox.Package
	for _, p := range list {
		file, err := s.file(p.File, p.Data, 0o644)
		if err != nil {
			return nil, err
		}
		out = append(out, sandbox.Package{Path: file, Name: p.Name, Version: p.Version, Arch: p.Arch})
	}
	return out, nil
}

// file writes file n of the bundle into a folder of its own, so that names do
// not meet.
func (s *stand) file(name string, n int, mode os.FileMode) (string, error) {
	dir := filepath.Join(s.dir, fmt.Sprintf("%d-%o", n, mode))
	file := filepath.Join(dir, name)
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	r, err := s.data(n)
	if err != nil {
		return "", err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return "", errors.Join(err, r.Close())
	}
	_, err = io.Copy(f, r)
	return file, errors.Join(err, f.Chmod(mode), f.Close(), r.Close())
}
