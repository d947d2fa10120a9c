package plan

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
)

// A testRoot answers probes: pkg and release from its maps, and payloads.
type testRoot struct {
	pkg      map[string]string // "!" means that it cannot be read
	payloads map[string]condition.Verdict
	asked    int
}

// Probe implements condition.Facts.
func (r *testRoot) Probe(_ context.Context, name string, args ...string) (any, error) {
	r.asked++
	switch name {
	case "family":
		return "linux", nil
	case "arch":
		return "x64", nil
	case "pkg":
		if r.pkg[args[0]] == "!" {
			return nil, errors.New("the disk cannot be read")
		}
		return r.pkg[args[0]], nil
	case "dmi":
		return nil, condition.ErrNoMachine
	}
	return nil, fmt.Errorf("no probe %s", name)
}

// Payload implements Detector.
func (r *testRoot) Payload(_ context.Context, b *Bundle) (condition.Verdict, string) {
	v, ok := r.payloads[b.ID()]
	if !ok {
		return condition.No, "usr/bin/x is not there"
	}
	return v, "because the test says so"
}

// have returns a root with these products, each "NAME VERSION".
func have(products ...string) *testRoot {
	r := &testRoot{pkg: map[string]string{}, payloads: map[string]condition.Verdict{}}
	for _, p := range products {
		name, v, _ := strings.Cut(p, " ")
		r.pkg[name] = v
	}
	return r
}

// apply does what the steps of a plan do.
func (r *testRoot) apply(t *testing.T, p *Plan) {
	t.Helper()
	for _, s := range p.Steps {
		id, err := bundle.ParseID(s.Bundle)
		if err != nil {
			t.Fatal(err)
		}
		r.pkg[id.Product()] = id.Version
	}
}

// a makes a bundle of words: "reader@9.3-1 critical onto:>=9.2,<9.3 needs:vcredist>=14".
func a(words string) Bundle {
	list := strings.Fields(words)
	id, err := bundle.ParseID(list[0])
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256([]byte(list[0]))
	b := Bundle{Digest: hex.EncodeToString(sum[:]), Size: 1000, Header: bundle.Header{
		Schema: 1, Name: id.Name, Track: id.Track, Version: id.Version, Release: id.Release, Scheme: "dotted", Family: "linux",
		Detect: bundle.Detect{Version: fmt.Sprintf("pkg(%q)", id.Product())},
	}}
	for _, word := range list[1:] {
		key, value, _ := strings.Cut(word, ":")
		if key != "if" {
			value = strings.ReplaceAll(value, ",", " ")
		}
		b.set(key, value)
	}
	return b
}

// set sets one field from a word of a.
func (b *Bundle) set(key, value string) {
	product, within := value, ""
	if i := strings.IndexAny(value, "<>=!"); i >= 0 {
		product, within = value[:i], value[i:]
	}
	ref := bundle.Reference{Product: product, Range: within}
	switch key {
	case "critical", "important", "moderate", "low":
		b.Severity = bundle.Severity(key)
	case "between", "required", "deferred":
		b.Reboot = bundle.Reboot(key)
	case "onto":
		b.From = append(b.From, bundle.From{Range: value})
	case "fresh":
		b.From = append(b.From, bundle.From{Nothing: true})
	case "needs":
		b.Requires = append(b.Requires, ref)
	case "against":
		b.Conflicts = append(b.Conflicts, ref)
	case "over":
		b.Supersedes = append(b.Supersedes, ref)
	case "recalled":
		b.Recalled = "it breaks printing"
	case "if":
		b.Applies = value
	case "machine":
		b.Machine = true
	case "bypayload":
		b.Detect = bundle.Detect{}
	case "collection":
		b.Kind, b.Detect = bundle.Collection, bundle.Detect{}
	case "secret":
		b.Params = append(b.Params, bundle.Param{Name: value, Secret: true})
	case "windows":
		b.Family = "windows"
	default:
		panic("no word " + key)
	}
}

// some makes bundles, one a line.
func some(lines string) []Bundle {
	var list []Bundle
	for line := range strings.SplitSeq(lines, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, a(line))
		}
	}
	return list
}

// resolve plans for a root.
func resolve(t *testing.T, bundles []Bundle, r Detector, opt Options, look ...LookOptions) *Plan {
	t.Helper()
	c, err := Compile(bundles)
	if err != nil {
		t.Fatal(err)
	}
	var l LookOptions
	if len(look) > 0 {
		l = look[0]
	}
	f, err := c.Look(t.Context(), r, l)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Resolve(f, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// steps returns the steps of a plan as text; | stands for a restart.
func steps(p *Plan) string {
	var words []string
	for _, s := range p.Steps {
		if s.Restart {
			words = append(words, "|")
		}
		words = append(words, strings.TrimSuffix(s.Bundle, "-1"))
	}
	return strings.Join(words, " ")
}

func productOfPlan(t *testing.T, p *Plan, name string) Product {
	t.Helper()
	i := slices.IndexFunc(p.Products, func(q Product) bool { return q.Name == name })
	if i < 0 {
		t.Fatalf("the plan has no product %s", name)
	}
	return p.Products[i]
}

func cellOf(t *testing.T, p *Plan, id string) Cell {
	t.Helper()
	i := slices.IndexFunc(p.Cells, func(c Cell) bool { return c.Bundle == id })
	if i < 0 {
		t.Fatalf("the plan has no cell of %s", id)
	}
	return p.Cells[i]
}
