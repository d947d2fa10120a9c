package apply

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"slipcast/catalog/bundle"
	"slipcast/internal/lab"
)

// There is no cmd.exe here: what the batch files do was read, not run. These
// tests hold what they are made of.

func TestBatchFile(t *testing.T) {
	m := &bundle.Manifest{Header: bundle.Header{Name: "reader", Version: "9.3", Release: 1, Reboot: bundle.Between}}
	c := newCompiler(newDraft(newWorld(true, ext("boot"))), m, nil, map[string]string{"key": "100% & ^a|b", "name": "Müller"})
	run := &bundle.Run{
		Phase: bundle.FirstBoot, Exec: []string{"setup.exe", "/S", "/v=a b", `C:\dir x\`, "{{key}}", "", "PROP={{name}}"},
		Scripts: []bundle.Script{{Name: "setup.exe"}}, Timeout: 600, OK: []int{0, 4294967295}, Reboot: []int{1641, 3010}, Retry: bundle.NoRun,
	}
	files, err := c.windowsEntry(run)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"@chcp 65001 >nul", "@echo off", "setlocal EnableExtensions DisableDelayedExpansion", `set "SLIPCAST_BUNDLE=reader@9.3-1"`,
		`set "SLIPCAST_PARAM_key=100%% & ^a|b"`, `set "SLIPCAST_PARAM_name=Müller"`, `set "SLIPCAST_PHASE=firstboot"`,
		`set "SLIPCAST_FILES=%~dp0files"`, `cd /d "%~dp0files" || exit /b 127`,
		`"%~dp0files\setup.exe" /S "/v=a b" "C:\dir x\\" "100%% & ^a|b" "" "PROP=Müller"`, "exit /b %errorlevel%", "",
	}
	if got := files["run.cmd"]; got != strings.Join(want, "\r\n") {
		t.Errorf("run.cmd:\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	rules := "set \"ok=0 -1\"\r\nset \"reboots=1641 3010\"\r\nset \"limit=600\"\r\nset \"retry=never\"\r\nset \"between=yes\"\r\n"
	if got := files["rules.cmd"]; got != rules {
		t.Errorf("rules.cmd %q, want %q", got, rules)
	}
}

func TestBatchCommand(t *testing.T) {
	for _, tt := range []struct {
		exec []string
		want string
	}{
		{[]string{"msiexec", "/i", "x.msi", "/qn", "REBOOT=ReallySuppress"}, `"msiexec" /i x.msi /qn REBOOT=ReallySuppress`},
		{[]string{"/Windows/System32/cmd.exe", "/c", "a&b"}, `"%SystemDrive%\Windows\System32\cmd.exe" /c "a&b"`},
		{[]string{"x", `a\`, `a\ b`, "(x)", "a,b;c", "!x!"}, `"x" a\ "a\ b" "(x)" "a,b;c" "!x!"`},
	} {
		if got, err := batchCommand(&bundle.Run{Exec: tt.exec}, nil); err != nil || got != tt.want {
			t.Errorf("%q: %s, %v, want %s", tt.exec, got, err, tt.want)
		}
	}
	for _, word := range []string{`say "x"`, "two\nlines", "\x7f", "tab\t"} {
		if got, err := batchCommand(&bundle.Run{Exec: []string{"x", word}}, nil); err == nil || !strings.Contains(err.Error(), "exec[1]") {
			t.Errorf("%q: %s, %v, want an error that names it", word, got, err)
		}
	}
}

func TestBatchFileRefusesLongLines(t *testing.T) {
	m := &bundle.Manifest{Header: bundle.Header{Name: "x", Version: "1", Release: 1}}
	c := newCompiler(newDraft(newWorld(true, ext("boot"))), m, nil, map[string]string{"p": strings.Repeat("x", 8100)})
	if _, err := c.batch(&bundle.Run{Exec: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "cmd.exe takes") {
		t.Errorf("got %v, want that the line is too long", err)
	}
}

// Every label that the runner goes to is there, once, and its text is such
// that cmd.exe reads it in every code page.
func TestWindowsRunnerLabels(t *testing.T) {
	labels := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^:(\w+)$`).FindAllStringSubmatch(windowsRunner, -1) {
		labels[m[1]]++
	}
	uses := regexp.MustCompile(`(?:goto |call :)(\w+)`).FindAllStringSubmatch(windowsRunner, -1)
	if len(uses) < 20 || len(labels) < 10 {
		t.Fatalf("%d uses of %d labels", len(uses), len(labels))
	}
	for _, m := range uses {
		if labels[m[1]] != 1 {
			t.Errorf("label %s is there %d times, want once", m[1], labels[m[1]])
		}
	}
	for _, b := range []byte(windowsRunner) {
		if b == '\r' || b == '\t' || b > 0x7e {
			t.Fatalf("byte %#x in the runner", b)
		}
	}
}

// windows makes a small Windows in a folder.
func windows(t testing.TB, files map[string]string) string {
	t.Helper()
	lab.Root(t)
	dir := t.TempDir()
	for _, name := range []string{"Windows/System32/Tasks", "Windows/Setup/State", "ProgramData", "Users"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		plant(t, filepath.Join(dir, name), text, 0o644)
	}
	return dir
}

const windowsYAML = `schema: 1
name: NAME
version: 1.0.0
scheme: semver
family: windows
detect: {present: 'exists("/made")'}
run:
  - {phase: firstboot, exec: [scripts/setup.cmd, /S], scripts: [scripts/setup.cmd], timeout: 600s, reboot_codes: [1641, 3010]}
`

func windowsBundle(t *testing.T, name string) *bundle.Bundle {
	t.Helper()
	b, err := openBundle(build(t, strings.Replace(windowsYAML, "NAME", name, 1), map[string]string{"scripts/setup.cmd": "exit /b 3010\r\n"}))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const generalizedState = "[State]\r\nImageState=IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE\r\n"

func TestRootWindowsFirstBoot(t *testing.T) {
	wide := strings.Join(strings.Split(generalizedState, ""), "\x00") + "\x00"
	for name, tt := range map[string]struct {
		files    map[string]string
		complete string // SetupComplete.cmd afterwards
	}{
		"generalized":           {map[string]string{"Windows/Setup/State/State.ini": generalizedState}, callRunner + "\r\n"},
		"in UTF-16":             {map[string]string{"Windows/Setup/State/State.ini": "\xff\xfe" + wide}, callRunner + "\r\n"},
		"with one of the site":  {map[string]string{"Windows/Setup/State/State.ini": generalizedState, "WINDOWS/setup/scripts/setupcomplete.cmd": "@exit /b\r\n"}, callRunner + "\r\n@exit /b\r\n"},
		"with the task":         {map[string]string{"Windows/System32/Tasks/slipcast-firstboot": "<Task/>"}, ""},
		"with the task in caps": {map[string]string{"Windows/System32/Tasks/SLIPCAST-FirstBoot": "<Task/>"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := windows(t, tt.files)
			before := digestOf(t, dir)
			for _, name := range []string{"corpus", "second"} {
				if err := applyTo(t, dir, windowsBundle(t, name), Options{}); err != nil {
					t.Fatal(err)
				}
			}
			complete := ""
			for _, name := range []string{"Windows/Setup/Scripts/SetupComplete.cmd", "WINDOWS/setup/scripts/setupcomplete.cmd"} {
				p, _ := os.ReadFile(filepath.Join(dir, name))
				complete += string(p)
			}
			if complete != tt.complete {
				t.Errorf("SetupComplete.cmd is %q, want %q", complete, tt.complete)
			}
			for name, want := range map[string]string{
				"firstboot.cmd": crlf(windowsRunner), "queue/0001-corpus/files/setup.cmd": "exit /b 3010\r\n", "queue/0002-second/todo": "",
			} {
				if got, err := os.ReadFile(filepath.Join(dir, "ProgramData/slipcast", name)); err != nil || string(got) != want {
					t.Errorf("%s: %q, %v, want %q", name, got, err, want)
				}
			}
			undoRefused(t, dir, "corpus", ErrChanged) // the second needs what it brought
			undoProducts(t, dir, "second", "corpus")
			if after := digestOf(t, dir); after != before {
				t.Errorf("tree digest after undo %s, want %s", after, before)
			}
		})
	}
}

func TestRootWindowsFirstBootRefused(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"nothing":          nil,
		"set up":           {"Windows/Setup/State/State.ini": "[State]\r\nImageState=IMAGE_STATE_COMPLETE\r\n"},
		"a folder as task": {"Windows/System32/Tasks/slipcast-firstboot/x": ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := windows(t, files)
			before := digestOf(t, dir)
			err := applyTo(t, dir, windowsBundle(t, "corpus"), Options{})
			if !errors.Is(err, ErrFirstBoot) || !strings.Contains(err.Error(), "schtasks /create /tn slipcast-firstboot") {
				t.Errorf("got %v, want ErrFirstBoot with what to do", err)
			}
			if after := digestOf(t, dir); after != before {
				t.Error("the root was changed")
			}
		})
	}
}

// A Linux without the programs that the runner needs refuses.
func TestRootFirstBootNeedsTimeout(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	busybox(t, dir)
	if err := os.Remove(filepath.Join(dir, "usr/bin/timeout")); err != nil {
		t.Fatal(err)
	}
	b, err := openBundle(build(t, "schema: 1\nname: corpus\nversion: 1.0.0\nscheme: semver\ndetect: {present: 'exists(\"/made\")'}\nrun:\n  - {phase: firstboot, exec: [/bin/true], timeout: 60s}\n", nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := applyTo(t, dir, b, Options{}); !errors.Is(err, ErrFirstBoot) || !strings.Contains(err.Error(), "timeout") {
		t.Errorf("got %v, want ErrFirstBoot that names timeout", err)
	}
}

// What administrators are told to run stands in the specification.
func TestTaskCommandsAreDocumented(t *testing.T) {
	p, err := os.ReadFile("../../docs/bundles.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"```\n" + TaskCommands + "\n```\n", "`" + callRunner + "`"} {
		if !strings.Contains(string(p), text) {
			t.Errorf("docs/bundles.md lacks %q", text)
		}
	}
}
