package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/agent/wire"
)

// Where process 1 and the agent meet.
const (
	runFolder   = "/run/slipcast"
	markPath    = runFolder + "/boot"         // this is a boot environment
	crashPath   = runFolder + "/crash"        // what an agent that crashed left on its standard error
	sessionPath = runFolder + "/session.json" // the job that it was at
	endPath     = runFolder + "/end"          // how the machine ends, as the agent wants
)

// Times of process 1.
const (
	crashWait = time.Minute            // that a crash stays on the screen that nobody could report
	endWait   = 15 * time.Second       // for an agent that has said how the machine ends
	buryEvery = 100 * time.Millisecond // between two looks whether a process has ended
)

// Boot is process 1 of a boot environment, and never returns. It runs the agent
// as a child, and does nothing else but bury processes that are nobody's, so
// that there is nothing in it that could fail: when process 1 ends, the kernel
// stops. When the agent has said how, it ends the machine; after a crash it first
// starts the agent a second time, to report that.
func Boot() {
	if err := mountAll(); err != nil {
		fmt.Printf("slipcast agent: %v\r\n", err)
	}
	settle()
	os.MkdirAll(runFolder, 0o700)
	os.WriteFile(markPath, nil, 0o600)
	if code := runAgent("agent"); wanted() == "" {
		fmt.Printf("slipcast agent: it crashed (%d)\r\n", code)
		unix.Kill(-1, unix.SIGKILL) // a child of it may still write to a disk
		runAgent("agent", "--crashed")
	}
	if end := wanted(); end != "" {
		endMachine(end)
	}
	time.Sleep(crashWait)
	for {
		endMachine(wire.Reboot)
		time.Sleep(time.Second)
	}
}

// wanted returns how the agent wants the machine to end; empty if it never said
// so, because it crashed.
func wanted() wire.End {
	text, _ := os.ReadFile(endPath)
	switch end := wire.End(text); end {
	case wire.Reboot, wire.PowerOff:
		return end
	}
	return ""
}

// runAgent runs the agent and returns its exit code, -1 if there is none. Until
// then it buries what becomes a child of process 1.
func runAgent(args ...string) int {
	log, err := os.OpenFile(crashPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		log = os.Stderr
	}
	defer log.Close()
	p, err := os.StartProcess("/init", append([]string{"slipcast"}, args...), &os.ProcAttr{
		Dir: "/", Env: []string{"HOME=/tmp", "PATH=/", "TMPDIR=/tmp", "GOTRACEBACK=all"}, Files: []*os.File{os.Stdin, os.Stdout, log},
	})
	if err != nil {
		fmt.Printf("slipcast agent: %v\r\n", err)
		return -1
	}
	return bury(p.Pid)
}

// bury buries processes until the agent is among them, and returns its exit code,
// -1 if there is none. An agent that has said how the machine ends, and does not
// end because the kernel holds one of its threads, is not waited for.
func bury(agent int) int {
	var said time.Time
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return -1
		case pid == agent && status.Exited():
			return status.ExitStatus()
		case pid == agent:
			return -1
		case pid != 0:
		case said.IsZero() && wanted() != "":
			said = time.Now()
		case !said.IsZero() && time.Since(said) > endWait:
			return -1
		default:
			time.Sleep(buryEvery)
		}
	}
}

// InBootEnvironment tells whether this process was started by [Boot].
func InBootEnvironment() bool {
	_, err := os.Stat(markPath)
	return err == nil && os.Getppid() == 1
}

// ProcessOne tells whether a process is the first of a boot environment: it has
// the number 1, and the kernel has called it /init. The first process of a
// container has the number, too.
func ProcessOne(pid int, args []string) bool {
	return pid == 1 && len(args) > 0 && args[0] == "/init"
}

// CalledByKernel tells whether a process is what the kernel calls for a module.
func CalledByKernel(args []string) bool {
	_, err := os.Stat(markPath)
	return err == nil && len(args) > 0 && filepath.Clean(args[0]) == modprobePath
}
