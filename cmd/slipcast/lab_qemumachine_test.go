package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// inRoom is for machines in QEMU, two of which share what two slow cores can do
// for them.
func inRoom() labWait { return labWait{200 * time.Millisecond, 5 * time.Minute} }

// A qemuProcess is a server or a machine that is switched on. What it prints
// is kept with the times.
type qemuProcess struct {
	t     *testing.T
	what  string
	cmd   *exec.Cmd
	began time.Time
	ended chan struct{} // closed then
	next  int           // the line that await goes on with

	mu    sync.Mutex
	rest  []byte // of a line
	lines []qemuLine
}

// A qemuLine is a line without what moves a terminal's cursor and colours.
type qemuLine struct {
	at   time.Time
	text string
}

// startQEMUProcess starts lab-pxe, which becomes the process.
func startQEMUProcess(t *testing.T, what string, args ...string) *qemuProcess {
	t.Helper()
	p := &qemuProcess{t: t, what: what, cmd: exec.Command(qemuScript, args...), began: time.Now(), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = p, p, time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // until it is killed, with the room at the latest
		defer close(p.ended)
		_ = p.cmd.Wait() // nobody asks how it ended
	}()
	t.Cleanup(p.tell)
	return p
}

// kill ends the process without a word to anyone: for a machine, a power cut.
func (p *qemuProcess) kill() {
	_ = p.cmd.Process.Kill() // it may be gone
	<-p.ended
}

// qemuTold is how many lines are shown of each process of a test that failed.
const qemuTold = 40

// tell ends the process and, if the test has failed, shows what it said last.
func (p *qemuProcess) tell() {
	p.kill()
	if !p.t.Failed() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var text strings.Builder
	for _, l := range p.lines[max(0, len(p.lines)-qemuTold):] {
		fmt.Fprintf(&text, "%8.3f %s\n", l.at.Sub(p.began).Seconds(), l.text)
	}
	p.t.Logf("%s, switched on at %s:\n%s", p.what, p.began.Format(time.TimeOnly), &text)
}

// qemuMoves are the escape sequences and control characters of a console.
var qemuMoves = regexp.MustCompile(`\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][A-Z0-9]|[\x00-\x08\x0b-\x1f\x7f]`)

// Write implements io.Writer: it takes what the process prints.
func (p *qemuProcess) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest = append(p.rest, text...)
	for {
		line, rest, found := bytes.Cut(p.rest, []byte("\n"))
		if !found {
			return len(text), nil
		}
		p.rest = rest
		if line := strings.TrimSpace(qemuMoves.ReplaceAllString(string(line), "")); line != "" {
			p.lines = append(p.lines, qemuLine{time.Now(), line})
		}
	}
}

// find returns the first line from number from on that matches, and its parts.
func (p *qemuProcess) find(from int, pattern *regexp.Regexp) (number int, at time.Time, parts []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := from; i < len(p.lines); i++ {
		if parts := pattern.FindStringSubmatch(p.lines[i].text); parts != nil {
			return i, p.lines[i].at, parts
		}
	}
	return -1, time.Time{}, nil
}

// qemuFailed is what an agent says of a job that failed.
var qemuFailed = regexp.MustCompile(`slipcast agent: job \S+ \S+ failed: .*`)

// await waits for a line that matches, after the one that it waited for
// before, and returns when it came and its parts.
func (p *qemuProcess) await(pattern string) (at time.Time, parts []string) {
	p.t.Helper()
	compiled := regexp.MustCompile(pattern)
	inRoom().until(p.t, p.what+" prints "+pattern, func() bool {
		over := p.isOver()
		_, _, failed := p.find(p.next, qemuFailed)
		var number int
		number, at, parts = p.find(p.next, compiled)
		switch {
		case parts != nil:
			p.next = number + 1
		case failed != nil:
			p.t.Fatalf("%s: %s, want %s", p.what, failed[0], pattern)
		case over:
			p.t.Fatalf("%s ended and has not printed %s", p.what, pattern)
		}
		return parts != nil
	})
	return at, parts
}

func (p *qemuProcess) isOver() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// says tells whether a line that matches came between two times.
func (p *qemuProcess) says(pattern string, from, to time.Time) bool {
	compiled := regexp.MustCompile(pattern)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.lines {
		if l.at.After(from) && l.at.Before(to) && compiled.MatchString(l.text) {
			return true
		}
	}
	return false
}

// A qemuMachine is a machine of a room, off until [qemuMachine.on].
type qemuMachine struct {
	room         *qemuRoom
	number       int
	name, mac    string
	dir          string
	flags, disks []string
	*qemuProcess // since it was switched on last
}

// machine puts machine number into the room. Disks are files.
func (r *qemuRoom) machine(number int, firmware string, disks []string, flags ...string) *qemuMachine {
	r.t.Helper()
	m := &qemuMachine{
		room: r, number: number, name: fmt.Sprintf("pc-5c%04d", number), mac: fmt.Sprintf("52:54:00:5c:00:%02d", number),
		dir: r.t.TempDir(), disks: disks, flags: append([]string{"--firmware", firmware}, flags...),
	}
	for _, disk := range disks {
		m.flags = append(m.flags, "--disk", disk)
	}
	return m
}

// on switches the machine on.
func (m *qemuMachine) on() {
	m.room.t.Helper()
	args := []string{"--name", m.room.name, "machine", fmt.Sprint(m.number), "--dir", m.dir}
	m.qemuProcess = startQEMUProcess(m.room.t, m.name, append(args, m.flags...)...)
}

// contact waits until the server has answered the machine's agent, and returns
// how long after it was switched on that was.
func (m *qemuMachine) contact() time.Duration {
	m.t.Helper()
	at, _ := m.await(`slipcast agent: contact ` + m.name)
	return at.Sub(m.began)
}

// A qemuReport is what a machine that runs Debian says of itself.
type qemuReport struct {
	at                 time.Time
	host, id, key      string
	root               string // size of its file system in bytes
	firmware, security string
}

// report waits until the Debian on the machine's disk has started.
func (m *qemuMachine) report() qemuReport {
	m.t.Helper()
	at, p := m.await(`LAB host=(\S+) machine-id=(\S+) sshkey=(\S+) root=(\d+) firmware=(\S+) secureboot=(\S+)`)
	return qemuReport{at, p[1], p[2], p[3], p[4], p[5], p[6]}
}

// written returns how many bytes the machine has written to its first disk
// since it was switched on, as QEMU counts (query-blockstats of QMP).
func (m *qemuMachine) written() int64 {
	m.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(m.dir, fmt.Sprintf("%d.qmp", m.number)))
	if err != nil {
		m.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // a socket has deadlines
	if _, err := io.WriteString(conn, `{"execute":"qmp_capabilities"}{"execute":"query-blockstats"}`); err != nil {
		m.t.Fatal(err)
	}
	d := json.NewDecoder(conn)
	for {
		var answer struct {
			Return json.RawMessage
		}
		if err := d.Decode(&answer); err != nil {
			m.t.Fatalf("%s: QMP: %v", m.name, err)
		}
		var drives []struct {
			Device string
			Stats  struct {
				Written int64 `json:"wr_bytes"`
			}
		}
		if json.Unmarshal(answer.Return, &drives) != nil {
			continue // a greeting, an event, or the answer to qmp_capabilities
		}
		for _, drive := range drives {
			if drive.Device == "d0" {
				return drive.Stats.Written
			}
		}
	}
}

// awaitWritten waits until the machine has written n bytes to its first disk.
func (m *qemuMachine) awaitWritten(n int64) {
	m.t.Helper()
	inRoom().until(m.t, fmt.Sprintf("%s writes %d bytes", m.name, n), func() bool { return m.written() >= n })
}

// qemuEmpty makes the file of an empty disk of 3 GiB.
func qemuEmpty(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	qemuClear(t, path)
	return path
}

// qemuClear makes the disk in the file at path an empty one.
func qemuClear(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, qemuDiskSize); err != nil {
		t.Fatal(err)
	}
}

const qemuDiskSize = 3 << 30
