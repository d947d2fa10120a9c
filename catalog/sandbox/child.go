package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Arg0 is the first argument of a process that must call [Main] at once.
const Arg0 = "slipcast-sandbox"

// The descriptors of the pipes of the first process.
const (
	ordersFD = 3
	answerFD = 4
)

// Main is the first process of a sandbox. It makes the tree what the program is
// to see, gives up what the program is not to have, runs it, and collects the
// processes that lose their parents. When it returns, all others are killed. It
// returns the exit code of the process.
func Main() int {
	runtime.LockOSThread() // what is given up is given up by a thread
	unix.CloseOnExec(ordersFD)
	unix.CloseOnExec(answerFD)
	answer := os.NewFile(answerFD, "answer")
	code, err := obey(os.NewFile(ordersFD, "orders"))
	r := report{Code: code}
	if err != nil {
		r.Err = err.Error()
	}
	if json.NewEncoder(answer).Encode(r) != nil {
		return 1 // nobody is there to read it
	}
	return 0
}

// obey reads the orders and carries them out.
func obey(from io.Reader) (int, error) {
	var s orders
	if err := json.NewDecoder(from).Decode(&s); err != nil {
		return -1, fmt.Errorf("no orders: %w", err)
	}
	if err := s.furnish(); err != nil {
		return -1, err
	}
	if !s.Net {
		if err := loopbackUp(); err != nil {
			return -1, fmt.Errorf("network: %w", err)
		}
	}
	if err := giveUp(); err != nil {
		return -1, err
	}
	return s.execute()
}

// loopbackUp gives the empty network its only interface.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// execute runs the program and returns its exit code.
func (s *orders) execute() (int, error) {
	cmd := &exec.Cmd{
		Path: s.Exec[0], Args: s.Exec, Env: s.Env, Dir: filesDir,
		Stdout: os.Stdout, Stderr: os.Stderr,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := s.findProgram(cmd); err != nil {
		return -1, err
	}
	if err := cmd.Start(); err != nil {
		return -1, err
	}
	if s.Watch > 0 {
		go watch(s.Watch) // it ends with this process
	}
	return reap(cmd.Process.Pid)
}

// findProgram looks for a program without a slash in its name in the PATH that
// it is to have.
func (s *orders) findProgram(cmd *exec.Cmd) error {
	if strings.Contains(cmd.Path, "/") {
		return nil
	}
	for _, setting := range s.Env {
		if path, ok := strings.CutPrefix(setting, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return err
			}
		}
	}
	found, err := exec.LookPath(cmd.Path)
	cmd.Path = found
	return err
}

// reap waits for all processes that have no other parent until the program has
// ended.
func reap(program int) (int, error) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return -1, err
		}
		if pid != program {
			continue
		}
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
}

// watchEvery is how often processes are counted where the kernel does not.
const watchEvery = 20 * time.Millisecond

// watch ends the sandbox when there are too many processes. It is for kernels
// without the controller "pids"; a limit of resources does not hold root.
func watch(most int) {
	for {
		if n := processes(); n > most {
			fmt.Fprintf(os.Stderr, "slipcast: %d processes, at most %d are allowed\n", n, most)
			os.Exit(1) // the kernel kills all others
		}
		time.Sleep(watchEvery)
	}
}

// processes counts the processes that there are.
func processes() (n int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if _, err := strconv.Atoi(name); err == nil {
			n++
		}
	}
	return n
}
