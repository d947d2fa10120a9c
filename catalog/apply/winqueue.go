package apply

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"slipcast/catalog/bundle"
	"slipcast/catalog/probe"
)

// windowsRunner runs the queue on a Windows: section 9.8.
//
//go:embed queue/firstboot.cmd
var windowsRunner string

// Places in a Windows that have to do with its first boot.
const (
	setupComplete = "Windows/Setup/Scripts/SetupComplete.cmd"
	setupState    = "Windows/Setup/State/State.ini"
	firstbootTask = "Windows/System32/Tasks/slipcast-firstboot"
)

// callRunner is the line of SetupComplete.cmd that runs the queue.
const callRunner = `@call "%SystemDrive%\ProgramData\slipcast\firstboot.cmd" setup`

// TaskCommands are what has to be run once, by an administrator, in a golden
// image of a Windows that is not generalized by sysprep, so that first-boot
// programs of bundles run on it: lines for cmd.exe.
const TaskCommands = `mkdir "%ProgramData%\slipcast"
icacls "%ProgramData%\slipcast" /inheritance:r /grant:r *S-1-5-18:(OI)(CI)F *S-1-5-32-544:(OI)(CI)F
schtasks /create /tn slipcast-firstboot /sc onstart /ru SYSTEM /tr "%ProgramData%\slipcast\firstboot.cmd"`

// longestLine is how many bytes a line of a batch file may have here. The
// interpreter takes 8191 characters: "Command prompt (Cmd.exe) command-line
// string limitation" (Microsoft Learn).
const longestLine = 8000

// windowsRunnerInto lays what runs the queue, and what calls it.
func (c *compiler) windowsRunnerInto(e *engine) error {
	generalized, err := c.generalized()
	if err != nil {
		return err
	}
	if generalized {
		err = c.callFromSetup()
	} else {
		err = c.wantsTask()
	}
	if err != nil {
		return err
	}
	return c.system(path.Join(e.state, "firstboot.cmd"), crlf(windowsRunner), 0o755, true)
}

// generalized reports whether the next start of a Windows is that of a new
// machine, after sysprep: "Windows Setup States" (Microsoft Learn). The page
// calls the key StateName; Windows writes ImageState.
func (c *compiler) generalized() (bool, error) {
	real, err := c.resolve(setupState, true)
	if err != nil {
		return false, err
	}
	n, err := c.node(real)
	if err != nil || n.kind() != File || n.Size > probe.MaxEdit {
		return false, err
	}
	p, err := c.text(real)
	if err != nil {
		return false, at(setupState, err)
	}
	text := strings.ReplaceAll(string(p), "\x00", "") // it may be UTF-16
	for line := range strings.Lines(text) {
		_, value, _ := strings.Cut(line, "=")
		if strings.EqualFold(strings.TrimSpace(value), "IMAGE_STATE_GENERALIZE_RESEAL_TO_OOBE") {
			return true, nil
		}
	}
	return false, nil
}

// wantsTask reports a Windows without the task of the golden image.
func (c *compiler) wantsTask() error {
	real, err := c.resolve(firstbootTask, true)
	if err != nil {
		return err
	}
	n, err := c.node(real)
	if err != nil {
		return err
	}
	if n.kind() != File {
		return fmt.Errorf("%w: it is a Windows that is not generalized by sysprep, and has no task slipcast-firstboot; run in the golden image, once: %s", ErrFirstBoot, strings.ReplaceAll(TaskCommands, "\n", " & "))
	}
	return nil
}

// callFromSetup makes SetupComplete.cmd call the runner, before all else that
// it does: it may end anywhere.
func (c *compiler) callFromSetup() error {
	line := callRunner + "\r\n"
	err := c.edit(setupComplete, true, false, func(p []byte) ([]byte, error) {
		if strings.Contains(string(p), line) {
			return p, nil
		}
		return append([]byte(line), p...), nil
	})
	if err != nil {
		return err
	}
	real, err := c.resolve(setupComplete, true)
	if err != nil {
		return err
	}
	if w := c.wants[real]; w != nil {
		w.keep = true
		return nil
	}
	now, err := c.node(real) // it calls the runner already, which must stay so
	if err != nil {
		return err
	}
	text, err := c.text(real)
	if err != nil {
		return err
	}
	w := &want{node: copyNode(now), origin: "the queue", keep: true}
	w.fill(text)
	_, err = c.put(real, w)
	return err
}

// windowsEntry returns the files of one program.
func (c *compiler) windowsEntry(run *bundle.Run) (map[string]string, error) {
	script, err := c.batch(run)
	if err != nil {
		return nil, err
	}
	return map[string]string{"todo": "", "rules.cmd": crlf(windowsRules(c.manifest, run)), "run.cmd": script}, nil
}

// windowsRules returns what the runner has to know of a program.
func windowsRules(m *bundle.Manifest, run *bundle.Run) string {
	retry, between := policies(m, run)
	return fmt.Sprintf("set \"ok=%s\"\nset \"reboots=%s\"\nset \"limit=%d\"\nset \"retry=%s\"\nset \"between=%s\"\n",
		numbers(signed(run.OK)), numbers(signed(run.Reboot)), run.Timeout, retry, between)
}

// signed returns exit codes as the interpreter has them in ERRORLEVEL.
func signed(list []int) []int {
	var out []int
	for _, n := range list {
		out = append(out, int(int32(uint32(n))))
	}
	return out
}

// batch returns the batch file that is a program of the first boot.
func (c *compiler) batch(run *bundle.Run) (string, error) {
	lines := []string{"@echo off", "setlocal EnableExtensions DisableDelayedExpansion"}
	env := environment(c.manifest, run, c.params)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		value, err := batchText(env[name])
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		lines = append(lines, `set "`+name+"="+value+`"`)
	}
	lines = append(lines, `set "SLIPCAST_FILES=%~dp0files"`, `cd /d "%~dp0files" || exit /b 127`)
	command, err := batchCommand(run, c.params)
	if err != nil {
		return "", err
	}
	lines = append(lines, command, "exit /b %errorlevel%")
	for _, line := range lines {
		if len(line) > longestLine {
			return "", fmt.Errorf("a line of %d bytes, cmd.exe takes %d: %.40s", len(line), longestLine, line)
		}
	}
	text := strings.Join(lines, "\r\n") + "\r\n"
	if strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e }) {
		text = "@chcp 65001 >nul\r\n" + text // from here on it is read as UTF-8
	}
	return text, nil
}

// batchCommand returns the line that runs a program.
func batchCommand(run *bundle.Run, params map[string]string) (string, error) {
	var list []string
	for i, word := range run.Exec {
		word, err := batchText(string(expand([]byte(word), params)))
		if err != nil {
			return "", fmt.Errorf("exec[%d]: %w", i, err)
		}
		switch {
		case i > 0:
			list = append(list, batchWord(word))
		case slices.ContainsFunc(run.Scripts, func(s bundle.Script) bool { return s.Name == run.Exec[0] }):
			list = append(list, `"%~dp0files\`+word+`"`)
		case strings.HasPrefix(word, "/"):
			list = append(list, `"%SystemDrive%`+strings.ReplaceAll(word, "/", `\`)+`"`)
		default:
			list = append(list, `"`+word+`"`)
		}
	}
	return strings.Join(list, " "), nil
}

// batchText returns text as it stands in a batch file, between quotation marks.
func batchText(text string) (string, error) {
	if strings.ContainsFunc(text, func(r rune) bool { return r == '"' || r < ' ' || r == 0x7f }) {
		return "", errors.New("a quotation mark or a control character, which cmd.exe cannot hand over: put it into a script")
	}
	return strings.ReplaceAll(text, "%", "%%"), nil
}

// batchWord returns an argument as most programs read it: "Parsing C
// command-line arguments" (Microsoft Learn). A word of plain characters stays
// as it is, since some read their command line in ways of their own.
func batchWord(word string) string {
	const plain = `ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+./\:=@{}#`
	if word != "" && strings.Trim(word, plain) == "" {
		return word
	}
	body := strings.TrimRight(word, `\`)
	return `"` + word + word[len(body):] + `"` // backslashes before a quotation mark count twice
}

// crlf returns text with the line ends of Windows.
func crlf(text string) string { return strings.ReplaceAll(text, "\n", "\r\n") }
