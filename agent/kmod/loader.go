package kmod

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// ErrNoModule reports a name or alias that no module has.
var ErrNoModule = errors.New("no such module")

// maxNotes bounds what is remembered of modules that did not load.
const maxNotes = 64

// A Loader loads modules. All methods are safe for concurrent use.
type Loader struct {
	index  *Index
	insert func(file string) error

	mu    sync.Mutex
	state map[string]*attempt // of modules
	seen  map[string]bool     // aliases that were asked for
	notes []string
}

// An attempt is a module that was, or is being, loaded.
type attempt struct {
	done chan struct{}
	err  error // once done
}

// NewLoader returns a loader of the modules of an index. insert gives the
// kernel the module in a file, whose path is relative to the folder of the
// index; it is called side by side. That a module is there already, it reports
// by an error that wraps [fs.ErrExist], or by none. See [Insert].
func NewLoader(index *Index, insert func(file string) error) *Loader {
	return &Loader{index: index, insert: insert, state: map[string]*attempt{}, seen: map[string]bool{}}
}

// Load loads the modules of this name or alias, and returns when they are
// loaded. The error wraps [ErrNoModule] if there is none.
func (l *Loader) Load(alias string) error {
	names := l.index.Match(alias)
	if len(names) == 0 {
		return fmt.Errorf("%s: %w", alias, ErrNoModule)
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, l.load(name))
	}
	return errors.Join(errs...)
}

// LoadAll loads the modules for aliases, as far as there are any, side by side,
// and returns how many aliases had not been asked for before. What does not
// load is among the notes.
func (l *Loader) LoadAll(aliases []string) (fresh int) {
	var g errgroup.Group
	g.SetLimit(8)
	for _, alias := range aliases {
		if !l.first(alias) {
			continue
		}
		fresh++
		for _, name := range l.index.Match(alias) {
			g.Go(func() error {
				l.load(name) // the error is among the notes
				return nil
			})
		}
	}
	g.Wait()
	return fresh
}

// first tells whether an alias is asked for the first time.
func (l *Loader) first(alias string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.seen[alias]
	l.seen[alias] = true
	return first
}

// load loads a module and what it needs. Nothing is held while it waits for
// another goroutine but that one's insertion of a single module, so that
// modules that want each other do not wait for each other.
func (l *Loader) load(name string) error {
	must := append(slices.Clone(l.index.depends[name]), name)
	for _, step := range l.index.order(name) {
		err := l.once(step)
		if err == nil || !slices.Contains(must, step) {
			continue
		}
		if step == name {
			return err
		}
		return fmt.Errorf("%s: needs %w", name, err)
	}
	return nil
}

// order returns what is inserted for a module, one after the other: what it
// needs and what it would like to have, itself, and what should follow it.
func (x *Index) order(name string) []string {
	var list []string
	visited := map[string]bool{}
	var visit func(string)
	soft := func(aliases []string) {
		for _, alias := range aliases {
			for _, name := range x.Match(alias) {
				visit(name)
			}
		}
	}
	visit = func(name string) {
		if visited[name] || x.builtin[name] {
			return
		}
		visited[name] = true
		for _, needed := range slices.Backward(x.depends[name]) {
			visit(needed)
		}
		soft(x.soft[name].pre)
		list = append(list, name)
		soft(x.soft[name].post)
	}
	visit(name)
	return list
}

// once inserts a module if nobody has, and waits for whoever does.
func (l *Loader) once(name string) error {
	l.mu.Lock()
	a, known := l.state[name]
	if !known {
		a = &attempt{done: make(chan struct{})}
		l.state[name] = a
	}
	l.mu.Unlock()
	if known {
		<-a.done
		return a.err
	}
	defer close(a.done)
	file := l.index.paths[name]
	if file == "" {
		a.err = fmt.Errorf("%s: %w", name, ErrNoModule)
	} else if err := l.insert(file); err != nil && !errors.Is(err, fs.ErrExist) {
		a.err = fmt.Errorf("%s: %w", name, err)
		l.note(a.err)
	}
	return a.err
}

func (l *Loader) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.notes) < maxNotes {
		l.notes = append(l.notes, err.Error())
	}
}

// Notes returns what did not load, and why; at most 64 of them.
func (l *Loader) Notes() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.notes)
}
