package condition

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ErrNoMachine says that a probe asks for the machine where there is none, as
// while an image is baked.
var ErrNoMachine = errors.New("there is no machine to ask")

// Facts answer the probes of section 3 of docs/bundles.md, except compare and
// within, which the condition answers itself. Probe gets the name of a probe
// and its arguments, as many as the probe takes, and returns a bool, an int64
// or a string, as the probe gives. A thing that is not there is an answer;
// an error means that there is none, and makes the verdict unknown. Whether
// Probe may be called from several goroutines is up to the implementation: a
// condition calls it from one.
type Facts interface {
	Probe(ctx context.Context, name string, args ...string) (any, error)
}

// An Answer is what a probe said to a condition.
type Answer struct {
	Probe string   `json:"probe,omitempty"` // its name; empty where the expression itself went wrong
	Args  []string `json:"args,omitempty"`
	Value string   `json:"value,omitempty"` // at most maxShown bytes of it
	Err   string   `json:"err,omitempty"`   // why there is no value
}

// maxShown is how many bytes of a value and of an argument an [Answer] holds.
const maxShown = 256

// String returns the answer as one line: pkg("bash") = "5.2.15-2+b7".
func (a Answer) String() string {
	if a.Probe == "" {
		return a.Err
	}
	var args []string
	for _, arg := range a.Args {
		args = append(args, strconv.Quote(arg))
	}
	call := a.Probe + "(" + strings.Join(args, ", ") + ")"
	if a.Err != "" {
		return call + ": " + a.Err
	}
	return call + " = " + strconv.Quote(a.Value)
}

// newAnswer notes what a probe said.
func newAnswer(name string, args []string, value any, err error) Answer {
	a := Answer{Probe: name}
	for _, arg := range args {
		a.Args = append(a.Args, shorten(arg))
	}
	if err != nil {
		a.Err = err.Error()
		return a
	}
	a.Value = shorten(fmt.Sprint(value))
	return a
}

// shorten cuts text that is too long to be shown, between two characters.
func shorten(s string) string {
	if len(s) <= maxShown {
		return s
	}
	end := maxShown - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// A kind is what a probe gives.
type kind int

const (
	text kind = iota
	number
	truth
)

// A probe is a function that a condition may call. All its arguments are texts.
type probe struct {
	name    string
	args    int
	gives   kind
	machine bool // it asks for the machine
}

// probes are all probes, in the order of docs/bundles.md. Nobody changes them.
var probes = []probe{
	{name: "family", gives: text},
	{name: "distro", gives: text},
	{name: "release", gives: text},
	{name: "arch", gives: text},
	{name: "exists", args: 1, gives: truth},
	{name: "size", args: 1, gives: number},
	{name: "mode", args: 1, gives: text},
	{name: "owner", args: 1, gives: text},
	{name: "sha256", args: 1, gives: text},
	{name: "text", args: 1, gives: text},
	{name: "ini", args: 3, gives: text},
	{name: "pkg", args: 1, gives: text},
	{name: "pe", args: 1, gives: text},
	{name: "reg", args: 2, gives: text},
	{name: "product", args: 1, gives: text},
	{name: "compare", args: 3, gives: number},
	{name: "within", args: 3, gives: truth},
	{name: "dmi", args: 1, gives: text, machine: true},
	{name: "modalias", args: 1, gives: truth, machine: true},
	{name: "memory", gives: number, machine: true},
	{name: "firmware", gives: text, machine: true},
	{name: "machine", args: 1, gives: text, machine: true},
}

// findProbe returns the probe of that name.
func findProbe(name string) (probe, bool) {
	i := slices.IndexFunc(probes, func(p probe) bool { return p.name == name })
	if i < 0 {
		return probe{}, false
	}
	return probes[i], true
}
