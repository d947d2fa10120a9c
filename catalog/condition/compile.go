package condition

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// Bounds of a condition. With them an evaluation takes at most a second or two
// besides its probes: every node works once on texts of at most maxText bytes.
const (
	maxSource   = 4 << 10  // bytes of its text
	maxNodes    = 1000     // nodes of its tree
	maxText     = 64 << 10 // bytes of a text while it is evaluated
	maxPatterns = 1000     // instructions of all its patterns together
)

// A Condition is compiled and can be evaluated any number of times. It is safe
// for concurrent use.
type Condition struct {
	program *vm.Program
	names   []string // of the probes that it calls
}

// An Error says where a condition is wrong, and why.
type Error struct {
	Line, Column int // from 1; the column counts characters
	Message      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// CompileBool compiles a condition that gives true or false. Every error is an
// [*Error].
func CompileBool(source string) (*Condition, error) { return compile(source, reflect.Bool) }

// CompileText compiles a condition that gives text. Every error is an [*Error].
func CompileText(source string) (*Condition, error) { return compile(source, reflect.String) }

// compile checks the tree before expr looks at types, because that takes time
// that doubles with every node that stands in two places of the tree.
func compile(source string, want reflect.Kind) (c *Condition, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &Error{Line: 1, Column: 1, Message: fmt.Sprint("expr cannot compile this: ", r)}
		}
	}()
	if len(source) > maxSource {
		return nil, &Error{Line: 1, Column: 1, Message: fmt.Sprintf("%d bytes, at most %d", len(source), maxSource)}
	}
	l := languageOf(want)
	c, err = l.compile(source)
	l.release() // not after a panic
	return c, err
}

// compile compiles a condition.
func (l *language) compile(source string) (*Condition, error) {
	config := l.config
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		return nil, located(source, err)
	}
	check := newCheck()
	check.node(tree.Node)
	if check.err != nil {
		return nil, located(source, check.err)
	}
	_, err = new(checker.Checker).PatchAndCheck(tree, config)
	if err = cmp.Or(err, l.typed.err); err != nil {
		return nil, located(source, err)
	}
	program, err := compiler.Compile(tree, config)
	if err != nil {
		return nil, located(source, err)
	}
	return &Condition{program: program, names: check.names}, nil
}

// A language is what expr knows of the language of conditions. Making it takes
// ten times as long as compiling a condition, so it is used again, but by one
// goroutine at a time: expr keeps what it learns of types in it.
type language struct {
	config *conf.Config
	typed  *typeCheck
	pool   *sync.Pool
}

// Languages that nobody uses just now.
var boolLanguages, textLanguages sync.Pool

// languageOf returns a language for conditions that give want.
func languageOf(want reflect.Kind) *language {
	pool := &boolLanguages
	if want == reflect.String {
		pool = &textLanguages
	}
	if l, ok := pool.Get().(*language); ok {
		return l
	}
	l := &language{typed: &typeCheck{}, pool: pool}
	l.config = newConfig(want, l.typed)
	return l
}

// release lets others use l.
func (l *language) release() {
	*l.typed = typeCheck{}
	l.pool.Put(l)
}

// newConfig returns how expr is to read conditions. Nothing is computed while
// compiling: expr's optimizer is not called.
func newConfig(want reflect.Kind, typed *typeCheck) *conf.Config {
	c := conf.CreateNew()
	for _, option := range []expr.Option{
		expr.Env(environment()),
		expr.AsKind(want),
		expr.WarnOnAny(),
		expr.MaxNodes(maxNodes),
		expr.Function(join, joinTexts, new(func(a, b string) string)),
		expr.Operator("+", join),
		expr.Patch(typed),
	} {
		option(c)
	}
	for name := range c.Builtins {
		if !slices.Contains(builtins(), name) {
			c.Disabled[name] = true
			delete(c.Builtins, name)
		}
	}
	return c
}

// environment has a function for every probe, for their types.
func environment() map[string]any {
	var names []string
	for _, p := range probes {
		names = append(names, p.name)
	}
	return (&evaluation{}).functions(names)
}

// join is the function that + of two texts calls. No condition can call it by
// this name.
const join = "text + text"

// joinTexts puts two texts together, if that is not too long.
func joinTexts(params ...any) (any, error) {
	a, b := params[0].(string), params[1].(string)
	if len(a)+len(b) > maxText {
		return nil, fmt.Errorf("a text of %d bytes, at most %d", len(a)+len(b), maxText)
	}
	return a + b, nil
}

// located turns an error of expr into ours.
func located(source string, err error) *Error {
	var at *file.Error
	if !errors.As(err, &at) {
		return &Error{Line: 1, Column: 1, Message: err.Error()}
	}
	bound := (&file.Error{Location: at.Location}).Bind(file.NewSource(source))
	return &Error{Line: bound.Line, Column: bound.Column + 1, Message: at.Message}
}

// fault is an error about a node.
func fault(n ast.Node, format string, args ...any) error {
	return &file.Error{Location: n.Location(), Message: fmt.Sprintf(format, args...)}
}
