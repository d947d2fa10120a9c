package bundle

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// yamlName is the file that says what a bundle is.
const yamlName = "bundle.yaml"

// A recipe is what bundle.yaml says, before any file that it names is looked at.
type recipe struct {
	header  Header
	allow   []string
	payload []recipePayload
	run     []recipeRun
	lines   map[string]int // see yamlReader
}

// A recipePayload is one element of payload; exactly one field is set.
type recipePayload struct {
	overlay *recipeOverlay
	deb     []string // globs
	rpm     []string
	line    *Line
	ini     *Ini
}

// A recipeOverlay is an overlay as it is written.
type recipeOverlay struct {
	from, to   string
	remove     []string
	attributes []recipeAttribute
	expand     []string
}

// A recipeAttribute overrides what an overlay's files have.
type recipeAttribute struct {
	glob     string
	mode     *uint32
	uid, gid *uint32
	xattrs   []Xattr
	where    string
}

// A recipeRun is a program as it is written: exec may begin with a file of the
// folder.
type recipeRun struct {
	run     Run
	scripts []string
}

// defaultTimeout is how long a program may run when nothing else is said, in seconds.
const defaultTimeout = 600

// readRecipe reads the text of bundle.yaml.
func readRecipe(text []byte) (*recipe, error) {
	body, err := parseYAML(text)
	if err != nil {
		return nil, err
	}
	y := &yamlReader{lines: map[string]int{}}
	r := &recipe{lines: y.lines, header: Header{Family: Linux, Release: 1}}
	if err := y.mapping(body, "", r.keys(y)); err != nil {
		return nil, err
	}
	for _, key := range []string{"schema", "name", "version", "scheme"} {
		if y.lines[key] == 0 {
			return nil, &lineError{lineOf(body), errors.New(key + " is missing")}
		}
	}
	return r, nil
}

// keys are those of the whole file.
func (r *recipe) keys(y *yamlReader) keys {
	h := &r.header
	return keys{
		"schema":        integer(&h.Schema, Schema, Schema),
		"name":          text(&h.Name),
		"track":         text(&h.Track),
		"version":       text(&h.Version),
		"scheme":        text(&h.Scheme),
		"release":       integer(&h.Release, 1, maxRelease),
		"title":         text(&h.Title),
		"severity":      oneOf(&h.Severity, Critical, Important, Moderate, Low),
		"kind":          oneOf(&h.Kind, Patch, App, Driver, Config, Data, Collection),
		"advisories":    y.texts(&h.Advisories),
		"family":        oneOf(&h.Family, Linux, Windows),
		"applies":       text(&h.Applies),
		"requires":      y.references(&h.Requires),
		"upgrades_from": y.from(&h.From),
		"supersedes":    y.references(&h.Supersedes),
		"conflicts":     y.references(&h.Conflicts),
		"detect":        y.detect(&h.Detect),
		"reboot":        oneOf(&h.Reboot, Never, Deferred, Required, Between),
		"rollback":      oneOf(&h.Rollback, Files, Reimage),
		"params":        y.params(&h.Params),
		"needs":         y.needs(&h.Needs),
		"allow":         y.texts(&r.allow),
		"payload":       y.payloads(&r.payload),
		"run":           y.runs(&r.run),
	}
}

// references sets dst; a text alone is a product in any version.
func (y *yamlReader) references(dst *[]Reference) use {
	return func(n ast.Node, where string) error {
		return y.list(n, where, func(n ast.Node, where string) error {
			var r Reference
			if s, err := textOf(n); err == nil {
				r.Product = s
			} else if err := y.mapping(n, where, keys{"product": text(&r.Product), "range": text(&r.Range)}); err != nil {
				return err
			}
			*dst = append(*dst, r)
			return nil
		})
	}
}

// from sets dst; the word nothing is where the product is not installed.
func (y *yamlReader) from(dst *[]From) use {
	return func(n ast.Node, where string) error {
		return y.list(n, where, func(n ast.Node, _ string) error {
			s, err := textOf(n)
			if err != nil {
				return err
			}
			f := From{Range: s}
			if s == "nothing" {
				f = From{Nothing: true}
			}
			*dst = append(*dst, f)
			return nil
		})
	}
}

func (y *yamlReader) detect(d *Detect) use {
	return func(n ast.Node, where string) error {
		return y.mapping(n, where, keys{"version": text(&d.Version), "present": text(&d.Present)})
	}
}

func (y *yamlReader) needs(d *Needs) use {
	return func(n ast.Node, where string) error {
		inodes := 0
		err := y.mapping(n, where, keys{
			"bytes": bytesIn(&d.Bytes), "inodes": integer(&inodes, 0, 1<<40), "commands": y.texts(&d.Commands),
		})
		d.Inodes = int64(inodes)
		return err
	}
}

// params sets dst, ordered by name.
func (y *yamlReader) params(dst *[]Param) use {
	return func(n ast.Node, where string) error {
		err := y.named(n, where, func(name string, n ast.Node, where string) error {
			p := Param{Name: name}
			err := y.mapping(n, where, keys{
				"title": text(&p.Title), "default": text(&p.Default), "secret": boolean(&p.Secret),
				"machine": oneOf(&p.Machine, "name", "uuid", "mac", "serial"),
			})
			*dst = append(*dst, p)
			return err
		})
		slices.SortFunc(*dst, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
		for i, p := range *dst {
			y.lines[fmt.Sprintf("%s[%d]", where, i)] = y.lines[join(where, p.Name)]
		}
		return err
	}
}

func (y *yamlReader) payloads(dst *[]recipePayload) use {
	return func(n ast.Node, where string) error {
		return y.list(n, where, func(n ast.Node, where string) error {
			var p recipePayload
			err := y.mapping(n, where, keys{
				"overlay": y.overlay(&p.overlay), "deb": y.texts(&p.deb), "rpm": y.texts(&p.rpm),
				"line": y.line(&p.line), "ini": y.ini(&p.ini),
			})
			*dst = append(*dst, p)
			return err
		})
	}
}

func (y *yamlReader) overlay(dst **recipeOverlay) use {
	return func(n ast.Node, where string) error {
		o := new(recipeOverlay)
		*dst = o
		return y.mapping(n, where, keys{
			"from": text(&o.from), "to": text(&o.to), "delete": y.texts(&o.remove), "expand": y.texts(&o.expand),
			"attributes": func(n ast.Node, where string) error {
				return y.list(n, where, func(n ast.Node, where string) error {
					a, err := y.attribute(n, where)
					o.attributes = append(o.attributes, a)
					return err
				})
			},
		})
	}
}

func (y *yamlReader) line(dst **Line) use {
	return func(n ast.Node, where string) error {
		l := new(Line)
		*dst = l
		return y.mapping(n, where, keys{
			"path": rooted(&l.Path), "match": text(&l.Match), "line": text(&l.Line), "after": text(&l.After),
			"absent": boolean(&l.Absent), "create": boolean(&l.Create),
		})
	}
}

func (y *yamlReader) ini(dst **Ini) use {
	return func(n ast.Node, where string) error {
		i := new(Ini)
		*dst = i
		return y.mapping(n, where, keys{
			"path": rooted(&i.Path), "section": text(&i.Section), "key": text(&i.Key), "value": text(&i.Value),
			"absent": boolean(&i.Absent), "create": boolean(&i.Create),
		})
	}
}

// rooted sets dst to a path of the root, which may begin with a slash.
func rooted(dst *string) use {
	return func(n ast.Node, where string) error {
		err := text(dst)(n, where)
		*dst = strings.TrimPrefix(*dst, "/")
		return err
	}
}

func (y *yamlReader) runs(dst *[]recipeRun) use {
	return func(n ast.Node, where string) error {
		return y.list(n, where, func(n ast.Node, where string) error {
			r := recipeRun{run: Run{Timeout: defaultTimeout}}
			err := y.mapping(n, where, keys{
				"phase": oneOf(&r.run.Phase, Pre, Post, FirstBoot), "exec": y.texts(&r.run.Exec), "scripts": y.texts(&r.scripts),
				"net": boolean(&r.run.Net), "timeout": seconds(&r.run.Timeout, longestTimeout),
				"ok": y.integers(&r.run.OK, 0, 1<<32-1), "reboot_codes": y.integers(&r.run.Reboot, 0, 1<<32-1),
				"retry": oneOf(&r.run.Retry, Safe, NoRun),
			})
			slices.Sort(r.run.OK)
			slices.Sort(r.run.Reboot)
			if r.run.OK == nil {
				r.run.OK = []int{0}
			}
			*dst = append(*dst, r)
			return err
		})
	}
}
