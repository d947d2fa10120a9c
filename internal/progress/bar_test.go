package progress

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// onTerminal runs f with a meter on a pseudo-terminal (see pty(7)) of the given
// number of columns, in a bubble where time costs nothing, and returns what
// appeared on it. Zero columns stand for a terminal that does not tell.
func onTerminal(t *testing.T, columns uint16, opt Options, f func(m *Meter)) string {
	t.Helper()
	host, user := openTerminal(t)
	defer host.Close()
	if err := unix.IoctlSetWinsize(int(user.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: columns}); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(*testing.T) {
		opt.Out = user
		m := New(opt)
		f(m)
		m.Done(nil)
	})
	if err := user.Close(); err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(host) // ends with EIO, as there is no other end any more
	return string(out)
}

// openTerminal makes a pseudo-terminal: what is written to user can be read
// from host.
func openTerminal(t *testing.T) (host, user *os.File) {
	t.Helper()
	host, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(host.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(int(host.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	user, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return host, user
}

var escapes = regexp.MustCompile(`\x1b\[[0-9]*[A-Za-z]`)

// frames returns the lines that were drawn over each other, as a person saw
// them.
func frames(out string) []string {
	var seen []string
	for _, line := range strings.Split(escapes.ReplaceAllString(out, ""), "\r") {
		if line = strings.TrimRight(line, " "); line != "" {
			seen = append(seen, line)
		}
	}
	return seen
}

var capturing = Options{Label: "capturing", Total: 60 * gib}

// twelve does 12 of the 60 GiB.
func twelve(m *Meter) { pass(m, 3, 4*gib) }

func TestBar(t *testing.T) {
	tests := []struct {
		name    string
		locale  string
		columns uint16
		opt     Options
		want    string // the last frame
	}{
		{"wide", "C", 200, capturing,
			"  20% [=====>........................]  capturing 12.0 GiB of 60.0 GiB, 4.0 GiB/s, 12s left"},
		{"usual", "C", 80, capturing,
			"  20% [==>...............]  capturing 12.0 GiB of 60.0 GiB, 4.0 GiB/s, 12s left"},
		{"blocks", "en_GB.UTF-8", 80, capturing,
			"  20% |███               |  capturing 12.0 GiB of 60.0 GiB, 4.0 GiB/s, 12s left"},
		{"serial console", "C", 0, capturing,
			"  20% [=====>........................]  capturing 12.0 GiB of 60.0 GiB, 4.0 GiB/s, 12s left"},
		{"no room for the time", "C", 65, capturing,
			"  20% [=>...........]  capturing 12.0 GiB of 60.0 GiB, 4.0 GiB/s"},
		{"no room for the rate", "C", 55, capturing,
			"  20% [=>............]  capturing 12.0 GiB of 60.0 GiB"},
		{"no room for the label", "C", 40, capturing,
			"  20% [>........]  12.0 GiB of 60.0 GiB"},
		{"room for the bar alone", "C", 30, capturing,
			"  20% [==>................]"},
		{"room for nothing", "C", 12, capturing, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("TERM", "xterm")
			t.Setenv("LC_ALL", tt.locale)
			seen := frames(onTerminal(t, tt.columns, tt.opt, twelve))
			var last string
			if len(seen) > 0 {
				last = seen[len(seen)-1]
			}
			if last != tt.want {
				t.Errorf("last frame:\n%q, want\n%q", last, tt.want)
			}
		})
	}
}

// TestBarOfStream shows that a spinner stands for what has no known end.
func TestBarOfStream(t *testing.T) {
	t.Setenv("TERM", "xterm")
	seen := frames(onTerminal(t, 80, Options{Label: "capturing"}, twelve))
	want := regexp.MustCompile(`^[-/|\\]  capturing 12\.0 GiB, 4\.0 GiB/s$`)
	if last := seen[len(seen)-1]; !want.MatchString(last) {
		t.Errorf("last frame %q, want %v", last, want)
	}
}

// TestBarFits shows that no frame is wider than the terminal, for what wraps
// cannot be drawn over, and that the line is left empty.
func TestBarFits(t *testing.T) {
	t.Setenv("TERM", "xterm")
	for columns := uint16(1); columns <= 100; columns += 3 {
		out := onTerminal(t, columns, capturing, twelve)
		for _, frame := range frames(out) {
			if n := utf8.RuneCountInString(frame); n > int(columns) {
				t.Errorf("%d columns on a terminal of %d: %q", n, columns, frame)
			}
		}
		if out != "" && !strings.HasSuffix(out, "\x1b[2K\r") {
			t.Errorf("%d columns: ends with %q, want an erased line", columns, out[max(0, len(out)-20):])
		}
		if strings.Contains(out, "\n") {
			t.Errorf("%d columns: %q, want one line", columns, out)
		}
	}
}

// TestBarPatience shows that nothing flashes up for short work.
func TestBarPatience(t *testing.T) {
	t.Setenv("TERM", "xterm")
	out := onTerminal(t, 80, capturing, func(m *Meter) {
		m.Add(60 * gib)
		time.Sleep(450 * time.Millisecond)
	})
	if out != "" {
		t.Errorf("drawn in 450 ms: %q, want nothing", out)
	}
}

// TestBarFull shows that the bar stays until the work is done, also when it
// flushes after the last byte or does more than was expected.
func TestBarFull(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("LC_ALL", "C")
	out := onTerminal(t, 100, capturing, func(m *Meter) {
		m.Add(61 * gib)
		pass(m, 6, 0)
	})
	seen := frames(out)
	want := "  99% [============================>.]  capturing 61.0 GiB of 60.0 GiB, 0 B/s"
	if last := seen[len(seen)-1]; last != want {
		t.Errorf("last frame:\n%q, want\n%q", last, want)
	}
}

func TestDetectTerminal(t *testing.T) {
	host, user := openTerminal(t)
	defer host.Close()
	defer user.Close()
	for term, want := range map[string]Mode{"xterm": Terminal, "dumb": Log} {
		t.Setenv("TERM", term)
		if got := Detect(user); got != want {
			t.Errorf("TERM=%s: Detect = %v, want %v", term, got, want)
		}
	}
}

// TestBarAside shows that what is written aside stands on a line of its own,
// and that the bar comes back below it.
func TestBarAside(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("LC_ALL", "C")
	host, user := openTerminal(t)
	defer host.Close()
	synctest.Test(t, func(*testing.T) {
		m := New(Options{Out: user, Label: "receiving", Total: 60 * gib})
		twelve(m)
		m.Aside(func() { fmt.Fprint(user, "slipcast: note\n") })
		twelve(m)
		m.Done(nil)
	})
	user.Close()
	out, _ := io.ReadAll(host) // ends with EIO, as there is no other end any more
	before, after, found := strings.Cut(string(out), "slipcast: note\r\n")
	if !found || !strings.HasSuffix(before, "\x1b[2K\r") || len(frames(after)) == 0 {
		t.Errorf("around the note: %q and %q, want an erased line and a new bar", before, after)
	}
}
