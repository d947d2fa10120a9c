// Package condition evaluates the conditions of bundles.
//
// A condition is an expression of github.com/expr-lang/expr that is compiled by
// [CompileBool] or [CompileText] and asks [Facts] about a root and a machine.
// It gives a [Verdict], yes or no, or a text; a probe that cannot answer makes
// either unknown. What was asked and answered, a list of [Answer], explains it.
//
// Compiling takes expr's language apart from all that could take long or look
// around: there are no variables, loops, functions or clocks, every part has a
// type, and texts and patterns have bounds. So evaluation ends soon whatever
// the condition says, except for the time that the probes themselves take.
//
// The package reads nothing itself: package probe does, behind Facts. The
// language is section 3 of docs/bundles.md.
package condition
