package condition

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"slipcast/catalog/version"
)

// memoryBudget is how many elements of lists an evaluation may make.
const memoryBudget = 100_000

// Probes returns the names of the probes that c can ask, in the order in which
// they stand in it. The caller owns the slice.
func (c *Condition) Probes() []string { return slices.Clone(c.names) }

// Machine tells whether c can ask for the machine, so that it has no answer
// where there is none.
func (c *Condition) Machine() bool {
	return slices.ContainsFunc(c.names, func(name string) bool {
		p, _ := findProbe(name)
		return p.machine
	})
}

// Verdict evaluates a condition of [CompileBool]. It returns the answers of the
// probes in the order in which they were asked; with Unknown, the last one has
// the reason. A context that ends makes it Unknown at the next probe.
func (c *Condition) Verdict(ctx context.Context, f Facts) (Verdict, []Answer) {
	e := newEvaluation(ctx, f)
	out, ok := e.run(c)
	b, isBool := out.(bool)
	if !ok || !isBool {
		return Unknown, e.unknown("gives neither true nor false")
	}
	return verdictOf(b), e.answers
}

// Text evaluates a condition of [CompileText]; known tells whether there is an
// answer. Answers are as in [Condition.Verdict].
func (c *Condition) Text(ctx context.Context, f Facts) (s string, known bool, answers []Answer) {
	e := newEvaluation(ctx, f)
	out, ok := e.run(c)
	s, isText := out.(string)
	if !ok || !isText {
		return "", false, e.unknown("gives no text")
	}
	return s, true, e.answers
}

// An evaluation is one run of a condition.
type evaluation struct {
	ctx     context.Context
	facts   Facts
	answers []Answer
	failed  bool // the last answer has the reason
}

func newEvaluation(ctx context.Context, f Facts) *evaluation {
	return &evaluation{ctx: ctx, facts: f}
}

// run runs a condition. It recovers from panics of expr.
func (e *evaluation) run(c *Condition) (out any, ok bool) {
	defer func() {
		if r := recover(); r != nil {
			e.fail(fmt.Sprint(r))
			out, ok = nil, false
		}
	}()
	machine := vm.VM{MemoryBudget: memoryBudget}
	out, err := machine.Run(c.program, e.functions(c.names))
	if err != nil {
		e.fail(reason(err))
		return nil, false
	}
	return out, !e.failed
}

// reason is what an error of expr says, with its place and without the text of
// the condition.
func reason(err error) string {
	var at *file.Error
	if errors.As(err, &at) {
		return (&Error{Line: at.Line, Column: at.Column + 1, Message: at.Message}).Error()
	}
	return err.Error()
}

// fail notes why the expression has no value, unless a probe did.
func (e *evaluation) fail(why string) {
	if !e.failed {
		e.answers = append(e.answers, Answer{Err: why})
		e.failed = true
	}
}

// unknown returns the answers with a reason as the last one.
func (e *evaluation) unknown(why string) []Answer {
	e.fail(why)
	return e.answers
}

// functions returns the probes of those names as expr calls them.
func (e *evaluation) functions(names []string) map[string]any {
	all := make(map[string]any, len(names))
	for _, name := range names {
		p, _ := findProbe(name)
		switch p.gives {
		case truth:
			all[name] = function[bool](e, p)
		case number:
			all[name] = function[int](e, p)
		default:
			all[name] = function[string](e, p)
		}
	}
	return all
}

// function returns a function with as many parameters as the probe takes.
func function[T any](e *evaluation, p probe) any {
	switch p.args {
	case 0:
		return func() (T, error) { return ask[T](e, p) }
	case 1:
		return func(a string) (T, error) { return ask[T](e, p, a) }
	case 2:
		return func(a, b string) (T, error) { return ask[T](e, p, a, b) }
	default:
		return func(a, b, c string) (T, error) { return ask[T](e, p, a, b, c) }
	}
}

// ask asks a probe and notes its answer. An error ends the evaluation.
func ask[T any](e *evaluation, p probe, args ...string) (T, error) {
	value, err := e.answer(p, args)
	out, ok := value.(T)
	if err == nil && !ok {
		err = fmt.Errorf("the probe gave a %T", value)
	}
	e.answers = append(e.answers, newAnswer(p.name, args, value, err))
	e.failed = err != nil
	return out, err
}

// answer returns a bool, an int or a text of at most maxText bytes.
func (e *evaluation) answer(p probe, args []string) (value any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the probe panicked: %v", r)
		}
	}()
	if err := e.ctx.Err(); err != nil {
		return nil, err
	}
	switch p.name {
	case "compare":
		return compare(args[0], args[1], args[2])
	case "within":
		return within(args[0], args[1], args[2])
	}
	value, err = e.facts.Probe(e.ctx, p.name, args...)
	if err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case int64:
		return int(v), nil
	case string:
		if len(v) > maxText {
			return nil, fmt.Errorf("a text of %d bytes, at most %d", len(v), maxText)
		}
	}
	return value, nil
}

// compare is the probe of that name.
func compare(scheme, a, b string) (int, error) {
	v, err := version.Parse(scheme, a)
	if err != nil {
		return 0, err
	}
	w, err := version.Parse(scheme, b)
	if err != nil {
		return 0, err
	}
	return v.Compare(w)
}

// within is the probe of that name.
func within(scheme, text, bounds string) (bool, error) {
	r, err := version.ParseRange(scheme, bounds)
	if err != nil || text == "" {
		return false, err
	}
	v, err := version.Parse(scheme, text)
	if err != nil {
		return false, err
	}
	return r.Has(v)
}
