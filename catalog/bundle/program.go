package bundle

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// program makes a program: the first word of exec is a file of the folder if it
// has a slash in it and does not begin with one.
func (b *builder) program(r *recipeRun) (Run, error) {
	run := r.run
	run.Exec = slices.Clone(run.Exec)
	if len(run.Exec) > 0 && !path.IsAbs(run.Exec[0]) && strings.Contains(run.Exec[0], "/") {
		s, err := b.script(path.Clean(run.Exec[0]), true)
		if err != nil {
			return run, at("exec", err)
		}
		run.Scripts = []Script{s}
		run.Exec[0] = s.Name
	}
	names, err := b.glob(r.scripts)
	if err != nil {
		return run, at("scripts", err)
	}
	for _, name := range names {
		s, err := b.script(name, false)
		if err != nil {
			return run, at("scripts", err)
		}
		if !slices.Contains(run.Scripts, s) && !isProgram(&run, s) {
			run.Scripts = append(run.Scripts, s)
		}
	}
	return run, nil
}

// isProgram tells whether s is the file that run starts, which a glob has found
// again.
func isProgram(run *Run, s Script) bool {
	return len(run.Scripts) > 0 && run.Scripts[0].Name == s.Name && run.Scripts[0].Data == s.Data && run.Exec[0] == s.Name
}

// script adds a file that a program finds.
func (b *builder) script(name string, program bool) (Script, error) {
	f, info, err := b.open(name)
	if err != nil {
		return Script{}, err
	}
	f.Close()
	s := Script{Name: path.Base(name), Mode: uint32(plainMode(info.Mode()))}
	if program {
		s.Mode = 0o755
	}
	if s.Data, err = b.add(name); err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}
