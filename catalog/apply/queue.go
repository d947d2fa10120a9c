package apply

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"slipcast/catalog/bundle"
	"slipcast/catalog/root"
)

// What runs the queue on a Linux: section 9.8.
var (
	//go:embed queue/run.sh
	linuxRunner string
	//go:embed queue/slipcast-firstboot.service
	linuxUnit string
)

// Places of what runs the queue on a Linux.
const (
	unitPath = "etc/systemd/system/slipcast-firstboot.service"
	unitLink = "etc/systemd/system/multi-user.target.wants/slipcast-firstboot.service"
)

// ErrFirstBoot reports a root on which nothing would run a program of the
// first boot.
var ErrFirstBoot = errors.New("nothing on this root runs programs at its first boot")

// A Queued is a program that is waiting for the first boot, or has run.
type Queued struct {
	Name   string // NNNN-NAME
	Result string // "" while it waits; "ok CODE", "reboot CODE", "failed CODE", "timeout" or "cut"
}

// Queue returns the programs of the first boot, in their order.
func Queue(r *root.Root) ([]Queued, error) {
	state, err := newDraft(tree{r: r}).resolve(stateFolder(r), false)
	if err != nil {
		return nil, err
	}
	e := newEngine(tree{r: r}, state)
	if err := e.sound(); err != nil {
		return nil, err
	}
	names, err := e.queued()
	if err != nil {
		return nil, err
	}
	var list []Queued
	for _, name := range names {
		p, err := e.readAll(path.Join(e.state, "queue", name, "result"), 64)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		list = append(list, Queued{Name: name, Result: strings.TrimSpace(string(p))})
	}
	return list, nil
}

// queued returns the names in the queue.
func (e *engine) queued() ([]string, error) {
	names, err := e.d.names(path.Join(e.state, "queue"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return queueNumber(name) == 0 }), err
}

// queueNumber returns NNNN of NNNN-NAME, 0 if name is no such thing.
func queueNumber(name string) int {
	number, _, ok := strings.Cut(name, "-")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || len(number) != 4 || n < 1 {
		return 0
	}
	return n
}

// queue lays the first-boot programs of a bundle into the draft, and what runs
// them. It returns their names.
func (c *compiler) queue(e *engine) ([]string, error) {
	var names []string
	number := 0
	there, err := e.queued()
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		number = queueNumber(there[len(there)-1])
	}
	for i := range c.manifest.Run {
		run := &c.manifest.Run[i]
		if run.Phase != bundle.FirstBoot {
			continue
		}
		if number++; number > 9999 {
			return nil, errors.New("the queue is full")
		}
		name := fmt.Sprintf("%04d-%s", number, c.manifest.Name)
		if err := c.enqueue(path.Join(e.state, "queue", name), run); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return nil, nil
	}
	return names, c.runner(e)
}

// enqueue lays one program.
func (c *compiler) enqueue(dir string, run *bundle.Run) error {
	files := map[string]string{"todo": "", "rules": rules(c.manifest, run), "program": c.script(dir, run)}
	if c.manifest.Family == bundle.Windows {
		var err error
		if files, err = c.windowsEntry(run); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := c.system(path.Join(dir, name), files[name], 0o600, false); err != nil {
			return err
		}
	}
	for _, sub := range []string{"", "files"} {
		w := &want{node: &Node{Type: Dir, Mode: 0o700}, origin: "the queue"}
		if _, err := c.put(path.Join(dir, sub), w); err != nil {
			return err
		}
	}
	for _, script := range run.Scripts {
		f := c.manifest.Files[script.Data]
		w := &want{node: &Node{Type: File, Mode: script.Mode, Size: f.Size, SHA256: f.SHA256}, origin: "the queue"}
		w.src.open = func() (io.ReadCloser, error) { return c.data(script.Data) }
		if _, err := c.put(path.Join(dir, "files", script.Name), w); err != nil {
			return err
		}
	}
	return nil
}

// system lays a file of slipcast itself.
func (c *compiler) system(p, text string, mode uint32, keep bool) error {
	w := &want{node: &Node{Type: File, Mode: mode}, origin: "the queue", keep: keep}
	w.fill([]byte(text))
	_, err := c.put(p, w)
	return err
}

// runner lays what runs the queue, unless it is there. Whoever needs it says so
// in its receipt, so that it is not undone before them.
func (c *compiler) runner(e *engine) error {
	if c.manifest.Family == bundle.Windows {
		return c.windowsRunnerInto(e)
	}
	if err := c.commands([]string{"timeout", "sync"}); err != nil {
		return fmt.Errorf("%w: %w", ErrFirstBoot, err)
	}
	systemd := false
	for _, p := range []string{"usr/lib/systemd/systemd", "lib/systemd/systemd"} {
		real, err := c.resolve(p, true)
		if err != nil {
			return err
		}
		n, err := c.node(real)
		if err != nil {
			return err
		}
		systemd = systemd || n.kind() == File
	}
	if !systemd {
		return fmt.Errorf("%w: it has no systemd", ErrFirstBoot)
	}
	if err := c.system(path.Join(e.state, "queue/run"), linuxRunner, 0o755, true); err != nil {
		return err
	}
	if err := c.system(unitPath, linuxUnit, 0o644, true); err != nil {
		return err
	}
	w := &want{node: &Node{Type: Symlink, Link: "../slipcast-firstboot.service"}, origin: "the queue", keep: true}
	_, err := c.put(unitLink, w)
	return err
}

// rules returns what the runner has to know of a program, as a shell reads it.
func rules(m *bundle.Manifest, run *bundle.Run) string {
	retry, between := policies(m, run)
	return fmt.Sprintf("ok='%s' reboots='%s' limit=%d retry=%s between=%s\n", numbers(run.OK), numbers(run.Reboot), run.Timeout, retry, between)
}

// policies returns what becomes of a program that was cut short, and whether
// the system is restarted right behind it.
func policies(m *bundle.Manifest, run *bundle.Run) (retry bundle.Retry, between string) {
	retry, between = bundle.Safe, "no"
	if run.Retry == bundle.NoRun {
		retry = bundle.NoRun
	}
	if m.Reboot == bundle.Between {
		between = "yes"
	}
	return retry, between
}

func numbers(list []int) string {
	var words []string
	for _, n := range list {
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, " ")
}

// script returns the shell script that is a program of the first boot.
func (c *compiler) script(dir string, run *bundle.Run) string {
	env := environment(c.manifest, run, c.params)
	env["SLIPCAST_FILES"] = "/" + dir + "/files"
	env["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	env["LC_ALL"], env["DEBIAN_FRONTEND"], env["HOME"] = "C.UTF-8", "noninteractive", "/root"
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, name := range slices.Sorted(maps.Keys(env)) {
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(env[name]))
	}
	fmt.Fprintf(&b, "cd %s || exit 127\nexec", quote(env["SLIPCAST_FILES"]))
	for _, word := range words(run, c.params) {
		b.WriteString(" " + quote(word))
	}
	return b.String() + "\n"
}

// quote returns s as one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
