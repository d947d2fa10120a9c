package condition

import (
	"reflect"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"slipcast/catalog/version"
)

// builtins are those functions of expr that a condition may call. None makes a
// longer text or list than it is given, and none loops over an expression.
func builtins() []string {
	return []string{
		"len", "upper", "lower", "trim", "trimPrefix", "trimSuffix", "split", "indexOf", "lastIndexOf", "hasPrefix", "hasSuffix", "int", "abs",
	}
}

// operators are those of expr that a condition may use.
func operators() []string {
	return []string{
		"==", "!=", "<", "<=", ">", ">=", "&&", "and", "||", "or", "!", "not",
		"+", "-", "*", "/", "%", "in", "contains", "startsWith", "endsWith", "matches",
	}
}

// A check walks the tree of a condition as it was parsed, and keeps the first
// fault.
type check struct {
	err      error
	names    []string // of probes, as they are first called
	seen     map[ast.Node]bool
	patterns int // instructions
}

func newCheck() *check { return &check{seen: map[ast.Node]bool{}} }

// fail keeps a fault if it is the first.
func (c *check) fail(n ast.Node, format string, args ...any) {
	if c.err == nil {
		c.err = fault(n, format, args...)
	}
}

// node checks n and all that is below it. What is not named here is not part
// of the language.
func (c *check) node(n ast.Node) {
	if c.err != nil || !c.once(n) {
		return
	}
	switch n := n.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode:
	case *ast.UnaryNode:
		c.operator(n, n.Operator)
		c.node(n.Node)
	case *ast.BinaryNode:
		c.binary(n)
	case *ast.ConditionalNode:
		c.all(n.Cond, n.Exp1, n.Exp2) // if and else are the same
	case *ast.MemberNode:
		c.member(n)
	case *ast.SliceNode:
		c.slice(n)
	case *ast.BuiltinNode:
		if !slices.Contains(builtins(), n.Name) {
			c.fail(n, "there is no function %s", n.Name)
		}
		c.all(n.Arguments...)
	case *ast.CallNode:
		c.call(n)
	case *ast.IdentifierNode:
		c.fail(n, "there are no variables: %s", n.Value)
	default:
		c.fail(n, "this is not part of the language of conditions")
	}
}

func (c *check) all(nodes ...ast.Node) {
	for _, n := range nodes {
		c.node(n)
	}
}

// once refuses a node that stands in the tree twice, as b does in a < b < c.
func (c *check) once(n ast.Node) bool {
	if c.seen[n] {
		c.fail(n, "this is asked twice: comparisons have two sides, and ?: has three parts")
		return false
	}
	c.seen[n] = true
	return true
}

func (c *check) operator(n ast.Node, operator string) {
	if !slices.Contains(operators(), operator) {
		c.fail(n, "there is no operator %s", operator)
	}
}

// binary checks an operator with two sides. A list stands only behind in, and
// only a text as it is behind matches.
func (c *check) binary(n *ast.BinaryNode) {
	c.operator(n, n.Operator)
	c.node(n.Left)
	if list, ok := n.Right.(*ast.ArrayNode); ok && n.Operator == "in" && c.once(list) {
		c.all(list.Nodes...)
		return
	}
	if n.Operator == "matches" {
		c.pattern(n.Right)
	}
	c.node(n.Right)
}

// pattern bounds the size of a regular expression: time for matching grows with
// it.
func (c *check) pattern(n ast.Node) {
	pattern, ok := n.(*ast.StringNode)
	if !ok {
		c.fail(n, "what stands behind matches must be a text in quotes")
		return
	}
	tree, err := syntax.Parse(pattern.Value, syntax.Perl)
	if err != nil {
		c.fail(n, "%v", err)
		return
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		c.fail(n, "%v", err)
		return
	}
	if c.patterns += len(program.Inst); c.patterns > maxPatterns {
		c.fail(n, "patterns of more than %d instructions", maxPatterns)
	}
}

// member checks list[number]; there is nothing with a field.
func (c *check) member(n *ast.MemberNode) {
	if _, named := n.Property.(*ast.StringNode); named || n.Method || n.Optional {
		c.fail(n, "there is nothing that has fields")
		return
	}
	c.all(n.Node, n.Property)
}

func (c *check) slice(n *ast.SliceNode) {
	c.node(n.Node)
	for _, end := range []ast.Node{n.From, n.To} {
		if end != nil {
			c.node(end)
		}
	}
}

// call checks the call of a probe and those of its arguments that must be right
// for it to answer at all.
func (c *check) call(n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		c.fail(n, "only probes and functions can be called")
		return
	}
	p, ok := findProbe(callee.Value)
	if !ok {
		c.fail(callee, "there is no probe or function %s", callee.Value)
		return
	}
	if len(n.Arguments) != p.args {
		c.fail(n, "%s takes %d arguments, not %d", p.name, p.args, len(n.Arguments))
		return
	}
	c.all(n.Arguments...)
	c.constants(p, n.Arguments)
	if !slices.Contains(c.names, p.name) {
		c.names = append(c.names, p.name)
	}
}

// constants checks arguments that are texts in quotes.
func (c *check) constants(p probe, args []ast.Node) {
	switch p.name {
	case "dmi":
		c.oneOf(args[0], "vendor", "product", "serial", "board", "bios")
	case "machine":
		c.oneOf(args[0], "name", "uuid", "mac")
	case "compare", "within":
		c.oneOf(args[0], version.Schemes()...)
		c.versions(p, args)
	}
}

func (c *check) oneOf(n ast.Node, words ...string) {
	if s, ok := n.(*ast.StringNode); ok && !slices.Contains(words, s.Value) {
		c.fail(n, "%q is none of %s", s.Value, strings.Join(words, ", "))
	}
}

// versions checks the versions of compare and the range of within.
func (c *check) versions(p probe, args []ast.Node) {
	scheme, ok := args[0].(*ast.StringNode)
	if !ok {
		return
	}
	for i, arg := range args[1:] {
		s, ok := arg.(*ast.StringNode)
		if !ok || s.Value == "" && p.name == "within" {
			continue
		}
		var err error
		if p.name == "within" && i == 1 {
			_, err = version.ParseRange(scheme.Value, s.Value)
		} else {
			_, err = version.Parse(scheme.Value, s.Value)
		}
		if err != nil {
			c.fail(arg, "%v", err)
		}
	}
}

// A typeCheck refuses what has no type before it is evaluated: a text of
// unknown length could hide in it. expr calls it when types are known.
type typeCheck struct{ err error }

// Visit implements ast.Visitor. It changes nothing.
func (t *typeCheck) Visit(node *ast.Node) {
	n := *node
	if t.err == nil && n.Type().Kind() == reflect.Interface {
		t.err = fault(n, "the type of this is not known")
	}
}
