package apply

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
)

// A job is a program in a queue on a disk, run by the real runner in the real
// shell.
type job struct {
	dir string // of the queue
}

// newQueue makes an empty queue with the runner, and a systemctl that only
// says that it was called.
func newQueue(t *testing.T) *job {
	t.Helper()
	q := &job{dir: t.TempDir()}
	q.write(t, "run", linuxRunner)
	q.write(t, "bin/systemctl", "#!/bin/sh\necho \"$@\" >>"+q.dir+"/asked\n")
	return q
}

func (q *job) write(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(q.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// add puts a program into the queue as Apply does.
func (q *job) add(t *testing.T, name, script string, run bundle.Run, reboot bundle.Reboot) {
	t.Helper()
	m := &bundle.Manifest{Header: bundle.Header{Reboot: reboot}}
	q.write(t, name+"/rules", rules(m, &run))
	q.write(t, name+"/program", script)
	q.write(t, name+"/todo", "")
}

// boot runs the runner as the system does, and returns whether it succeeded.
func (q *job) boot(t *testing.T) bool {
	t.Helper()
	cmd := exec.Command("dash", "-c", `echo $$ >"$1/pid"; exec dash "$1/run" "$1"`, "dash", q.dir)
	cmd.Env = append(os.Environ(), "PATH="+q.dir+"/bin:"+os.Getenv("PATH"), "Q="+q.dir)
	return cmd.Run() == nil
}

func (q *job) text(name string) string {
	p, err := os.ReadFile(filepath.Join(q.dir, name))
	if err != nil {
		return "not there"
	}
	return strings.TrimSpace(string(p))
}

// dies is a program that takes the runner down with it the first times it runs.
const dies = `echo ran >>$Q/runs
[ $(wc -l <$Q/runs) -gt %LIMIT% ] || kill -9 $(cat $Q/pid)
exit 0
`

func TestQueueRunner(t *testing.T) {
	plain := bundle.Run{OK: []int{0, 5}, Reboot: []int{3}, Timeout: 60}
	never := plain
	never.Retry = bundle.NoRun
	short := plain
	short.Timeout = 1
	tests := []struct {
		name   string
		script string
		run    bundle.Run
		boots  int
		result string
		second string // result of the one behind it
		asked  string
	}{
		{"success", "exit 0", plain, 1, "ok 0", "ok 0", "not there"},
		{"another code that is success", "exit 5", plain, 1, "ok 5", "ok 0", "not there"},
		{"a code that wants a reboot", "exit 3", plain, 1, "reboot 3", "ok 0", "reboot"},
		{"a failure ends the queue", "exit 7", plain, 2, "failed 7", "not there", "not there"},
		{"what timeout would return", "exit 124", plain, 1, "failed 124", "not there", "not there"},
		{"too long", "sleep 100 & wait", short, 1, "timeout", "not there", "not there"},
		{"cut short and safe", strings.Replace(dies, "%LIMIT%", "1", 1), plain, 2, "ok 0", "ok 0", "not there"},
		{"cut short and not to be repeated", strings.Replace(dies, "%LIMIT%", "1", 1), never, 2, "cut", "not there", "not there"},
		{"cut short for ever", strings.Replace(dies, "%LIMIT%", "99", 1), plain, 7, "cut", "not there", "not there"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			q := newQueue(t)
			q.add(t, "0001-first", tt.script, tt.run, "")
			q.add(t, "0002-second", "exit 0", plain, "")
			for range tt.boots {
				q.boot(t)
			}
			if got := q.text("0001-first/result"); got != tt.result {
				t.Errorf("result %q, want %q", got, tt.result)
			}
			if got := q.text("0002-second/result"); got != tt.second {
				t.Errorf("the second: %q, want %q", got, tt.second)
			}
			if got := q.text("asked"); got != tt.asked {
				t.Errorf("systemctl: %q, want %q", got, tt.asked)
			}
			if got := q.text("0001-first/program"); got != "not there" {
				t.Errorf("the program, with secrets maybe, is still there: %q", got)
			}
		})
	}
}

// A bundle that wants a reboot before what comes after it gets one.
func TestQueueRebootBetween(t *testing.T) {
	q := newQueue(t)
	run := bundle.Run{OK: []int{0}, Reboot: []int{3}, Timeout: 60}
	q.add(t, "0001-first", "exit 3", run, bundle.Between)
	q.add(t, "0002-second", "exit 0", run, "")
	q.boot(t)
	if first, second := q.text("asked"), q.text("0002-second/result"); first != "reboot" || second != "not there" {
		t.Errorf("systemctl %q, second %q, want a reboot before the second", first, second)
	}
	q.boot(t)
	if got := q.text("0002-second/result"); got != "ok 0" {
		t.Errorf("second after the reboot: %q, want ok 0", got)
	}
	if got := q.text("asked"); got != "reboot" {
		t.Errorf("systemctl %q, want one reboot alone", got)
	}
}

func TestQuote(t *testing.T) {
	for _, word := range []string{"", "plain", "it's", "$(rm -rf /)", "a b\nc", `\`, "`x`"} {
		out, err := exec.Command("dash", "-c", "printf %s "+quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("quote(%q): the shell reads %q, %v", word, out, err)
		}
	}
}
