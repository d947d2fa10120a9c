package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/catalog/root"
)

// A Program is what Run runs.
type Program struct {
	Exec    []string          // name and arguments; a name with a slash is a path from the folder of Files, another is looked for in PATH
	Env     map[string]string // beyond what every program has
	Files   []File            // that it finds in the folder named by SLIPCAST_FILES, which is also where it starts
	Net     bool              // it may use the network
	Timeout time.Duration     // 0: none but that of the context
	Line    func(line string) // is called with each line of output, without its end; nil if nobody wants them
}

// A File is shown to a program. It cannot be written to.
type File struct {
	Name   string // a file name, no path
	Source string // the path of the file outside of the root
}

// A Result is how a program ended.
type Result struct {
	Code   int    // exit code; 128 and the number of the signal that ended it
	Output string // the end of its output, at most 64 KiB
}

// ErrTimeout reports a program that ran longer than it may.
var ErrTimeout = errors.New("timed out")

// Run runs a program on the overlay. All its processes are gone on return,
// those that it left behind, too. Its exit code is not judged: an error means
// that the program could not be run to its end, with what it said until then in
// the Result.
func (o *Overlay) Run(ctx context.Context, p Program) (Result, error) {
	if len(p.Exec) == 0 {
		return Result{}, errors.New("no program")
	}
	r, err := o.run(ctx, p)
	if err != nil {
		return r, fmt.Errorf("running %s: %w", p.Exec[0], err)
	}
	return r, nil
}

func (o *Overlay) run(ctx context.Context, p Program) (Result, error) {
	if p.Timeout > 0 {
		timed, cancel := context.WithTimeoutCause(ctx, p.Timeout, fmt.Errorf("%w after %v", ErrTimeout, p.Timeout))
		defer cancel()
		ctx = timed
	}
	if err := context.Cause(ctx); err != nil {
		return Result{}, err
	}
	s, err := o.orders(p)
	if err != nil {
		return Result{}, err
	}
	defer os.RemoveAll(s.Tmp)
	held, err := o.hold(s)
	if err != nil {
		return Result{}, err
	}
	said := &output{line: p.Line}
	var report report
	err = o.merged.Within(func() (err error) {
		report, err = o.start(ctx, s, said)
		return err
	})
	said.end()
	result := Result{Code: report.Code, Output: said.tail()}
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause // the program was killed for it
	}
	return result, errors.Join(err, o.letGo(held))
}

// orders are what the first process in the sandbox is told.
type orders struct {
	Merged string   // where the tree lies that the program is to see
	Hidden string   // a folder in it that it is not to see; empty if none
	Tmp    string   // the folder that it is to see as /tmp
	Exec   []string //
	Env    []string // all of it
	Files  []File   //
	Net    bool     //
	DNS    []byte   // contents of etc/resolv.conf, with Net
	Watch  int      // processes that it has to count itself; 0 if the kernel does
}

// filesDir is where a program finds its files.
const filesDir = "/run/slipcast/files"

// orders translates a program.
func (o *Overlay) orders(p Program) (*orders, error) {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
		"DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1", "SLIPCAST_FILES": filesDir,
	}
	maps.Copy(env, p.Env)
	s := &orders{Merged: o.merged.Dir(), Exec: p.Exec, Files: slices.Clone(p.Files), Net: p.Net}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		s.Env = append(s.Env, name+"="+env[name])
	}
	for i, f := range s.Files {
		source, err := filepath.Abs(f.Source)
		if err != nil {
			return nil, err
		}
		if f.Name == "" || f.Name == "." || f.Name == ".." || strings.ContainsAny(f.Name, "/\x00") {
			return nil, fmt.Errorf("%q is not the name of a file", f.Name)
		}
		s.Files[i].Source = source
	}
	if inside, err := filepath.Rel(o.root.Dir(), o.scratch); err == nil && filepath.IsLocal(inside) {
		s.Hidden = inside
	}
	var err error
	if p.Net {
		if s.DNS, err = os.ReadFile("/etc/resolv.conf"); err != nil {
			return nil, err
		}
	}
	s.Tmp, err = os.MkdirTemp(o.scratch, "tmp-")
	return s, err
}

// held are files that were made in the tree so that something can be mounted
// over them.
type held struct {
	path string
	stat root.Stat
}

// hold makes the files that others are to be mounted over.
func (o *Overlay) hold(s *orders) ([]held, error) {
	paths := []string{policyPath}
	if s.Net {
		paths = append(paths, resolvPath)
	}
	var list []held
	for _, path := range paths {
		h, err := o.holdOne(path)
		if err != nil {
			return nil, errors.Join(err, o.letGo(list))
		}
		if h != nil {
			list = append(list, *h)
		}
	}
	return list, nil
}

// holdOne makes an empty file, if its folder is there and it is not.
func (o *Overlay) holdOne(path string) (*held, error) {
	p, err := o.merged.Parent(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer p.Close()
	fd, err := unix.Openat(int(p.File.Fd()), p.Base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	unix.Close(fd)
	st, err := p.Lstat()
	return &held{path, st}, err
}

// letGo removes the files again, as far as they are still the same: a package
// may have brought its own.
func (o *Overlay) letGo(list []held) error {
	var errs []error
	for _, h := range list {
		p, err := o.merged.Parent(h.path)
		if err != nil {
			continue // its folder is gone
		}
		st, err := p.Lstat()
		if err == nil && st.Ino == h.stat.Ino && st.Dev == h.stat.Dev && st.Size == 0 {
			errs = append(errs, unix.Unlinkat(int(p.File.Fd()), p.Base, 0))
		}
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// A report is what the first process says when the program has ended.
type report struct {
	Code int
	Err  string // why the program was not run; else empty
}

// start runs the first process of the sandbox and waits until no process is
// left in it. It runs on a thread in the namespace of the overlay's mounts, and
// the first process dies with the thread.
func (o *Overlay) start(ctx context.Context, s *orders, said io.Writer) (report, error) {
	limit, err := newLimit(o.opt.Processes)
	if err != nil {
		s.Watch = o.opt.Processes
	}
	defer limit.remove()
	toldR, told, err := os.Pipe()
	if err != nil {
		return report{}, err
	}
	defer told.Close()
	answer, answerW, err := os.Pipe()
	if err != nil {
		toldR.Close()
		return report{}, err
	}
	defer answer.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args, cmd.Env, cmd.Dir = []string{Arg0}, []string{}, "/"
	cmd.Stdout, cmd.Stderr = said, said
	cmd.WaitDelay = 5 * time.Second
	cmd.ExtraFiles = []*os.File{toldR, answerW}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces(s.Net), Pdeathsig: syscall.SIGKILL, Setsid: true}
	err = cmd.Start()
	toldR.Close()
	answerW.Close()
	if err != nil {
		return report{}, err
	}
	err = limit.add(cmd.Process.Pid)
	if err == nil {
		err = json.NewEncoder(told).Encode(s)
	}
	told.Close() // without orders it ends
	err = errors.Join(err, cmd.Wait())
	r, readErr := readReport(answer)
	if readErr == nil && r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, errors.Join(err, readErr)
}

func namespaces(net bool) uintptr {
	flags := uintptr(unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC)
	if !net {
		flags |= unix.CLONE_NEWNET
	}
	return flags
}

// readReport reads what the first process said last.
func readReport(r io.Reader) (report, error) {
	var got report
	if err := json.NewDecoder(io.LimitReader(r, 64<<10)).Decode(&got); err != nil {
		return report{Code: -1}, errors.New("it was killed")
	}
	return got, nil
}
