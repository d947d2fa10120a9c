package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"slipcast/catalog/bake"
	"slipcast/catalog/sandbox"
	"slipcast/internal/lab"
)

// TestMain lets scripts, and tests that need a process of its own, run the
// program: this binary stands in PATH under the name slipcast.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", gorace)
	// A process that is started as a part of another one's work has that for its name.
	testscript.Main(m, map[string]func(){"slipcast": main, bake.Arg0: main, sandbox.Arg0: main})
}

// gorace spares every process the second that the race detector sleeps at its
// end: https://go.dev/doc/articles/race_detector.
const gorace = "atexit_sleep_ms=0"

// TestScripts runs the scripts that need no root.
func TestScripts(t *testing.T) {
	runScripts(scriptT{T: t}, func(name string) bool { return !strings.HasPrefix(name, "root_") })
}

// TestRootScripts runs the others, one after the other: what they do to the
// machine is seen by all.
func TestRootScripts(t *testing.T) {
	lab.Root(t)
	runScripts(scriptT{t, true}, func(name string) bool { return strings.HasPrefix(name, "root_") })
}

// runScripts runs the scripts whose names want accepts.
func runScripts(t scriptT, want func(name string) bool) {
	t.Helper()
	paths, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	paths = slices.DeleteFunc(paths, func(path string) bool { return !want(filepath.Base(path)) })
	testscript.RunT(t, testscript.Params{
		Files:               paths,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition:           scriptCondition,
		Cmds:                scriptCommands(),
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("GORACE", gorace)
			e.Setenv("SESSION", fmt.Sprintf("test-%d", os.Getpid())) // others may be on the network
			return os.MkdirAll(e.Getenv("TMPDIR"), 0o777)
		},
	})
}

// A scriptT is a test that shows a script only if it fails, also under -v.
type scriptT struct {
	*testing.T
	alone bool // scripts do not run side by side
}

// Run implements testscript.T.
func (t scriptT) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(sub *testing.T) { f(scriptT{sub, t.alone}) })
}

// Parallel implements testscript.T.
func (t scriptT) Parallel() {
	if !t.alone {
		t.T.Parallel()
	}
}

// Log implements testscript.T.
func (t scriptT) Log(args ...any) {
	t.Helper()
	if t.Failed() {
		t.T.Log(args...)
	}
}

// Verbose implements testscript.T.
func (scriptT) Verbose() bool { return false }

// scriptCondition knows "disk": the programs that the command disk needs are there;
// and "rootdevice": the running system lies on a disk.
func scriptCondition(name string) (bool, error) {
	switch name {
	case "disk":
		for _, tool := range []string{"sfdisk", "mke2fs", "mkfs.fat", "mcopy"} {
			if _, err := exec.LookPath(tool); err != nil {
				return false, nil
			}
		}
		return true, nil
	case "rootdevice":
		out, err := exec.Command("findmnt", "--noheadings", "--output", "SOURCE", "/").Output()
		return strings.HasPrefix(string(out), "/dev/"), err
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

type scriptCommand = func(ts *testscript.TestScript, neg bool, args []string)

// scriptCommands are the words that our scripts have besides those of
// testscript.
func scriptCommands() map[string]scriptCommand {
	return map[string]scriptCommand{
		"disk":     scriptDisk(sync.OnceValues(buildDisk)),
		"exits":    scriptExits,
		"flip":     scriptFlip,
		"garbage":  scriptGarbage,
		"json":     scriptJSON,
		"loop":     scriptLoop,
		"mount":    scriptMount,
		"register": scriptRegister,
		"sizeof":   scriptSizeof,
		"sparse":   scriptSparse,
		"swapon":   scriptSwapon,
		"text":     scriptText,
		"web":      scriptWeb,
	}
}

// scriptExits (exits CODE PROGRAM ARG...) runs a program that must end with
// the exit code.
func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) >= 2, "exits CODE PROGRAM ARG...")
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if want := number(ts, args[0]); int64(got) != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptFlip (flip FILE OFFSET) inverts a byte. A negative offset counts from
// the end.
func scriptFlip(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) == 2, "flip FILE OFFSET")
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	info, err := f.Stat()
	ts.Check(err)
	at := number(ts, args[1])
	if at < 0 {
		at += info.Size()
	}
	p := make([]byte, 1)
	_, err = f.ReadAt(p, at)
	ts.Check(err)
	p[0] ^= 0xff
	_, err = f.WriteAt(p, at)
	ts.Check(err)
}

// scriptGarbage (garbage FILE SIZE) makes a file of bytes that do not compress
// and are not zero.
func scriptGarbage(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) == 2, "garbage FILE SIZE")
	writePattern(ts, args[0], number(ts, args[1]), noise())
}

// scriptText (text FILE SIZE) makes a file of bytes that compress.
func scriptText(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) == 2, "text FILE SIZE")
	writePattern(ts, args[0], number(ts, args[1]), prose())
}

func writePattern(ts *testscript.TestScript, name string, size int64, pattern []byte) {
	f, err := os.Create(ts.MkAbs(name))
	ts.Check(err)
	defer f.Close()
	for size > 0 {
		n := min(size, int64(len(pattern)))
		_, err := f.Write(pattern[:n])
		ts.Check(err)
		size -= n
	}
}

// scriptSparse (sparse FILE SIZE) makes a file that is one hole, or gives one
// that is there another size.
func scriptSparse(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) == 2, "sparse FILE SIZE")
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY|os.O_CREATE, 0o666)
	ts.Check(err)
	defer f.Close()
	ts.Check(f.Truncate(number(ts, args[1])))
}

// scriptSizeof ([!] sizeof FILE SIZE) tells whether a file has that size.
func scriptSizeof(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, len(args) == 2, "sizeof FILE SIZE")
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if want := number(ts, args[1]); (info.Size() == want) == neg {
		ts.Fatalf("%s has %d bytes, want %d: %t", args[0], info.Size(), want, !neg)
	}
}

// scriptJSON (json stdout|stderr TYPE...) holds the objects that a command
// printed, one on a line, against their documentation. TYPE are the types of
// all objects in their order, but for those that come every second.
func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) >= 1, "json stdout|stderr TYPE...")
	var got []string
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		kind, err := checkObject(line)
		if err != nil {
			ts.Fatalf("%v: %s", err, line)
		}
		if kind != "progress" && kind != "receivers" && kind != "waiting" {
			got = append(got, kind)
		}
	}
	if want := args[1:]; !slices.Equal(got, want) {
		ts.Fatalf("objects of types %q, want %q", got, want)
	}
}

// checkObject holds an object against its documentation and returns its type.
func checkObject(line string) (kind string, err error) {
	object := map[string]any{}
	if err := json.Unmarshal([]byte(line), &object); err != nil {
		return "", err
	}
	kind, _ = object["type"].(string)
	if object["schema"] != float64(schema) {
		return "", fmt.Errorf("schema %v, want %d", object["schema"], schema)
	}
	i := slices.IndexFunc(jsonTypes(), func(t jsonType) bool { return t.name == kind })
	if i < 0 {
		return "", fmt.Errorf("type %q is not documented", kind)
	}
	known := []string{"type", "schema"}
	for _, f := range jsonTypes()[i].fields {
		known = append(known, f.name)
		if _, ok := object[f.name]; !ok && !f.optional {
			return "", fmt.Errorf("%s has no field %s", kind, f.name)
		}
	}
	for name := range object {
		if !slices.Contains(known, name) {
			return "", fmt.Errorf("field %s of %s is not documented", name, kind)
		}
	}
	return kind, nil
}

func wantArgs(ts *testscript.TestScript, ok bool, usage string) {
	if !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

// number reads a number, maybe with K or M behind it for 2^10 and 2^20.
func number(ts *testscript.TestScript, text string) int64 {
	unit := int64(1)
	switch {
	case strings.HasSuffix(text, "K"):
		unit = 1 << 10
	case strings.HasSuffix(text, "M"):
		unit = 1 << 20
	}
	n, err := strconv.ParseInt(strings.TrimRight(text, "KM"), 10, 64)
	ts.Check(err)
	return n * unit
}

// noise returns 1 MiB that does not compress and has no zeros.
func noise() []byte {
	p := make([]byte, 1<<20)
	x := uint32(1)
	for i := range p { // xorshift: Marsaglia, Journal of Statistical Software 8/14, 2003
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		p[i] = byte(x>>8) | 1
	}
	return p
}

// prose returns 1 MiB that compresses, but not to nothing.
func prose() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 1<<20; i++ {
		fmt.Fprintf(&b, "%d machines become disk %x; ", i, i*i*2654435761)
	}
	return b.Bytes()[:1<<20]
}

// scriptWeb (web DIR) serves a folder until the script ends; its URL is in WEB.
func scriptWeb(ts *testscript.TestScript, neg bool, args []string) {
	wantArgs(ts, !neg && len(args) == 1, "web DIR")
	server := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(server.Close)
	ts.Setenv("WEB", server.URL)
}
