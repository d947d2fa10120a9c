package apply

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/catalog/root"
	"slipcast/catalog/version"
)

// commandPath is where needs.commands are looked for.
const commandPath = "usr/local/sbin:usr/local/bin:usr/sbin:usr/bin:sbin:bin"

// installed returns the version of the product of a bundle that is on the
// root, empty for none: as detection says, or else the receipt.
func installed(ctx context.Context, h *bundle.Header, f condition.Facts, receipt *Receipt, opt Options) (string, error) {
	if opt.Installed != nil {
		return *opt.Installed, nil
	}
	if h.Detect.Version != "" {
		c, err := condition.CompileText(h.Detect.Version)
		if err != nil {
			return "", fmt.Errorf("detect.version: %w", err)
		}
		text, known, answers := c.Text(ctx, f)
		if !known {
			return "", fmt.Errorf("which version is installed cannot be told: %v", answers)
		}
		return text, nil
	}
	if receipt != nil {
		return receipt.Version, nil
	}
	return "", nil
}

// mayReplace decides whether a bundle may be put onto the version have of its
// product.
func mayReplace(h *bundle.Header, have string, opt Options) error {
	if have == "" {
		return fromNothing(h)
	}
	old, err := version.Parse(h.Scheme, have)
	if err != nil {
		return fmt.Errorf("the installed version: %w", err)
	}
	mine, err := version.Parse(h.Scheme, h.Version)
	if err != nil {
		return err
	}
	order, err := old.Compare(mine)
	if err != nil {
		return err
	}
	if order > 0 && !opt.AllowDowngrade {
		return fmt.Errorf("%w: version %s is installed", ErrDowngrade, have)
	}
	if order == 0 {
		return nil // once more, or a new release of what is there
	}
	return fromVersion(h, old, opt.AllowDowngrade && order > 0)
}

func fromNothing(h *bundle.Header) error {
	if len(h.From) == 0 {
		return nil
	}
	for _, f := range h.From {
		if f.Nothing {
			return nil
		}
	}
	return fmt.Errorf("%w: nothing is, and it upgrades %s", ErrFrom, ranges(h))
}

func fromVersion(h *bundle.Header, old version.Version, allowed bool) error {
	if len(h.From) == 0 || allowed {
		return nil
	}
	for _, f := range h.From {
		if f.Nothing {
			continue
		}
		r, err := version.ParseRange(h.Scheme, f.Range)
		if err != nil {
			return err
		}
		if has, err := r.Has(old); err != nil || has {
			return err
		}
	}
	return fmt.Errorf("%w: version %s is, and it upgrades %s", ErrFrom, old, ranges(h))
}

func ranges(h *bundle.Header) string {
	var list []string
	for _, f := range h.From {
		if !f.Nothing {
			list = append(list, f.Range)
		}
	}
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, " or ")
}

// receiptOf returns the receipt of a product, nil if there is none.
func receiptOf(list []Receipt, product string) *Receipt {
	for i := range list {
		if list[i].Product() == product {
			return &list[i]
		}
	}
	return nil
}

// owners reports a path that a bundle lays or takes away and that another
// product has laid.
func owners(steps []step, list []Receipt, h *bundle.Header) error {
	owner := map[Name]*Receipt{}
	for i := range list {
		if r := &list[i]; r.Product() != h.Product() && !supersedes(h, r) {
			for _, p := range r.Paths {
				if p.Own && p.Type != "" {
					owner[spelled(h.Family, p.Path)] = r
				}
			}
		}
	}
	for i := range steps {
		s := &steps[i]
		if r := owner[spelled(h.Family, s.Path)]; r != nil && (s.Own || s.After == nil) {
			return at(string(s.Path), fmt.Errorf("%w: it belongs to %s", ErrConflict, r.Ident()))
		}
	}
	return nil
}

// spelled returns a path as all spellings of it have it in a root of this
// family: in a Windows, the case of letters makes no other file.
func spelled(family string, p Name) Name {
	if family == bundle.Windows {
		return Name(root.Fold(string(p)))
	}
	return p
}

func supersedes(h *bundle.Header, r *Receipt) bool {
	for _, s := range h.Supersedes {
		if s.Product == r.Product() {
			return true
		}
	}
	return false
}

// commands reports a program that the bundle needs and that the root does not
// have.
func (t *draft) commands(names []string) error {
	for _, name := range names {
		found := false
		for dir := range strings.SplitSeq(commandPath, ":") {
			real, err := t.resolve(path.Join(dir, name), true)
			if err != nil {
				return err
			}
			n, err := t.node(real)
			if err != nil {
				return err
			}
			found = found || n.kind() == File && n.Mode&0o111 != 0
		}
		if !found {
			return fmt.Errorf("the root has no program %s, which the bundle needs", name)
		}
	}
	return nil
}

// writable reports a file system that steps change and that is read-only.
func (e *engine) writable(t *transaction) error {
	for _, v := range e.used(t) {
		if e.volumes[v].readOnly {
			return at("/"+e.volumes[v].top, ErrReadOnly)
		}
	}
	return nil
}

// reachable reports a file that lies, or is to lie, where no rename from the
// stage leads: in a subvolume of btrfs that is no file system of the root.
func (e *engine) reachable(t *transaction) error {
	tops := map[int]uint64{}
	dirs := map[string]uint64{}
	for i := range t.Steps {
		s := &t.Steps[i]
		if s.inPlace() || s.How == nothing || s.After.dir() && s.Before == nil {
			continue
		}
		v := e.volume(string(s.Path))
		if _, known := tops[v]; !known {
			side := path.Dir(e.side(v, t.ID))
			if err := e.device(side, dirs); err != nil {
				return err
			}
			tops[v] = dirs[side]
		}
		dir := path.Dir(string(s.Path))
		if err := e.device(dir, dirs); err != nil {
			return err
		}
		if dirs[dir] != tops[v] {
			return at(string(s.Path), ErrSubvolume)
		}
	}
	return nil
}

// device finds out on which device the directory lies, or will lie.
func (e *engine) device(dir string, known map[string]uint64) error {
	if _, ok := known[dir]; ok {
		return nil
	}
	st, err := e.d.stat(dir)
	if err == nil && st.dir() {
		known[dir] = st.id.dev
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) || dir == "." {
		return err
	}
	if err := e.device(path.Dir(dir), known); err != nil {
		return err
	}
	known[dir] = known[path.Dir(dir)]
	return nil
}

// found asks whether what a transaction has applied is there now.
func found(ctx context.Context, t *transaction, f condition.Facts) error {
	if len(t.Receipt.Queue) > 0 {
		return nil // the system has to run first
	}
	return detected(ctx, &t.Bundle, f)
}

// detected asks the conditions of a bundle whether it is there now.
func detected(ctx context.Context, h *bundle.Header, f condition.Facts) error {
	if h.Detect.Present != "" {
		c, err := condition.CompileBool(h.Detect.Present)
		if err != nil {
			return fmt.Errorf("detect.present: %w", err)
		}
		if v, answers := c.Verdict(ctx, f); v != condition.Yes {
			return fmt.Errorf("%w: detect.present says %s: %v", ErrVerify, v, answers)
		}
	}
	if h.Detect.Version == "" {
		return nil
	}
	got, err := installed(ctx, h, f, nil, Options{})
	if err != nil {
		return errors.Join(ErrVerify, err)
	}
	if version.Same(h.Scheme, got, h.Version) {
		return nil
	}
	return fmt.Errorf("%w: detect.version says %q, not %q", ErrVerify, got, h.Version)
}
