package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"slipcast/internal/progress"
)

// schema is the version of the objects that --json prints.
const schema = 1

// An env is the world of one run: its streams, and the flags that all commands
// have.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	json           bool
	quiet          bool
	lost           error // the first error of a write of results to stdout
}

// say tells people something on stderr.
func (e *env) say(format string, args ...any) {
	if e.quiet || e.json {
		return
	}
	fmt.Fprintf(e.stderr, "slipcast: "+format+"\n", args...)
}

// A fact is a line of a summary.
type fact struct{ about, text string }

// sum tells people how work ended.
func (e *env) sum(title string, facts ...fact) {
	e.say("%s", title)
	if e.quiet || e.json {
		return
	}
	for _, f := range facts {
		fmt.Fprintf(e.stderr, "  %-9s %s\n", f.about, f.text)
	}
}

// note tells people and programs something that they must not miss.
func (e *env) note(about, text string) {
	if e.json {
		e.object(e.stderr, map[string]any{"type": "note", "about": about, "text": text})
		return
	}
	fmt.Fprintf(e.stderr, "slipcast: note: %s: %s\n", about, text)
}

// object writes an object for programs to w.
func (e *env) object(w io.Writer, o map[string]any) {
	o["schema"] = schema
	p, err := json.Marshal(o)
	if err != nil {
		panic(err) // all values are strings, numbers, and lists of them
	}
	e.print(w, "%s\n", p)
}

// print writes to w. What stdout does not take is an error that the program
// ends with; what stderr does not take, nobody can be told.
func (e *env) print(w io.Writer, format string, args ...any) {
	if _, err := fmt.Fprintf(w, format, args...); err != nil && w == e.stdout && e.lost == nil {
		e.lost = err
	}
}

// result prints the result of a command for programs: to stdout, unless that
// carries an image.
func (e *env) result(o map[string]any, imageOnStdout bool) {
	if !e.json {
		return
	}
	w := e.stdout
	if imageOnStdout {
		w = e.stderr
	}
	e.object(w, o)
}

// meter starts a meter of work on total bytes. label is for people, stage for
// programs.
func (e *env) meter(label, stage string, total int64) *progress.Meter {
	mode := progress.Auto
	switch {
	case e.quiet:
		mode = progress.Quiet
	case e.json:
		mode = progress.JSON
	}
	return progress.New(progress.Options{Out: e.stderr, Mode: mode, Label: label, Stage: stage, Total: total})
}

// longestError is how much of an error is printed, in characters: a list of a
// thousand receivers that failed is.
const longestError = 1 << 18

// report prints the error that a command ended with, and a hint if there is
// one.
func (e *env) report(ctx context.Context, err error) {
	if err == nil {
		return
	}
	text := err.Error()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		text = strings.ReplaceAll(text, context.Canceled.Error(), "interrupted")
	}
	text = plain(strings.ReplaceAll(strings.TrimSpace(text), "\n", "; "), longestError)
	hint := hintFor(err)
	if e.json {
		o := map[string]any{"type": "error", "code": exitCode(ctx, err), "message": text}
		if hint != "" {
			o["hint"] = hint
		}
		e.object(e.stderr, o)
		return
	}
	fmt.Fprintf(e.stderr, "slipcast: %s\n", text)
	if hint != "" {
		fmt.Fprintf(e.stderr, "slipcast: hint: %s\n", hint)
	}
}

// confirm asks a person to type yes. Without a terminal nobody can be asked,
// and the answer is an error. Standard input may carry an image, so the
// terminal itself is read.
func (e *env) confirm(ctx context.Context, question string) error {
	in, ok := e.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		tty, err := os.Open("/dev/tty")
		if err != nil || !isTerminal(e.stderr) {
			return &refusal{noTerminal}
		}
		defer tty.Close()
		in = tty
	}
	fmt.Fprintf(e.stderr, "%s Type yes to go on: ", question)
	line, err := bufio.NewReader(newInput(ctx, in)).ReadString('\n')
	if err != nil {
		fmt.Fprintln(e.stderr)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if strings.TrimSpace(line) != "yes" {
		return &refusal{"not confirmed"}
	}
	return nil
}

// isTerminal tells whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
