package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"slipcast/multicast"
)

// A sendTable draws the receivers over and over in the same place of a
// terminal.
type sendTable struct {
	*sending
	keys *os.File // the terminal's keyboard, nil if it is not ours

	mu    sync.Mutex
	lines int // between the cursor and the top of the table
}

func newSendTable(s *sending) *sendTable {
	t := &sendTable{sending: s}
	if in, ok := s.env.stdin.(*os.File); ok && inForeground(in) {
		t.keys = in
	}
	return t
}

// inForeground tells whether f is a terminal that this process may read from
// without being stopped, see tcgetpgrp(3).
func inForeground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

func (t *sendTable) show(s multicast.Status) {
	columns, rows := screenSize(t.env.stderr)
	lines := tableLines(s, columns, rows-2)
	if s.State == multicast.Waiting && t.keys != nil {
		lines = append(lines, "press Enter to start with those who are there")
	}
	t.draw(lines)
}

// end leaves the table on the screen, with all receivers.
func (t *sendTable) end(s multicast.Status) {
	columns, _ := screenSize(t.env.stderr)
	if len(s.Receivers) == 0 {
		t.draw(nil)
		return
	}
	t.draw(tableLines(s, columns, len(s.Receivers)+tableHead))
}

func (t *sendTable) clear() { t.draw(nil) }

// draw replaces what was drawn before. The terminal cuts lines that are too
// wide, as wide characters make them: DECAWM, VT510 manual.
func (t *sendTable) draw(lines []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines+len(lines) == 0 {
		return
	}
	var b strings.Builder
	b.WriteString("\x1b[?7l\r")
	if t.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", t.lines)
	}
	for _, line := range lines {
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J\x1b[?7h")
	t.lines = len(lines)
	t.env.print(t.env.stderr, "%s", b.String())
}

// readKeys starts the session when Enter is pressed. The terminal shows that
// as a line.
func (t *sendTable) readKeys(ctx context.Context) {
	in := newInput(ctx, t.keys)
	key := make([]byte, 1)
	for {
		if n, err := in.Read(key); n == 0 || err != nil {
			return // also at the end of the input: Ctrl-D
		}
		if key[0] == '\n' {
			t.mu.Lock()
			t.lines++
			t.mu.Unlock()
			t.sender.Start()
		}
	}
}

// screenSize returns the size of a terminal; 80 by 24 if it does not tell.
func screenSize(w io.Writer) (columns, rows int) {
	if f, ok := w.(*os.File); ok {
		if columns, rows, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 && rows > 0 {
			return columns, rows
		}
	}
	return 80, 24
}

// tableHead is the number of lines above the receivers.
const tableHead = 2

// tableLines draws the table with at most so many columns and lines. Where
// there is no room for all receivers, those that want attention come first.
func tableLines(s multicast.Status, columns, rows int) []string {
	lines := []string{headline(s)}
	list, hidden := s.Receivers, 0
	if room := max(rows-tableHead, 2); len(list) > room {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(a, b multicast.ReceiverStatus) int {
			return cmp.Or(urgency(a.State)-urgency(b.State), percent(a)-percent(b))
		})
		hidden = len(list) - (room - 1)
		list = list[:room-1]
	}
	if len(list) > 0 {
		lines = append(lines, tableRows(list)...)
	}
	if hidden > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", hidden))
	}
	for i, line := range lines {
		lines[i] = clip(line, columns)
	}
	return lines
}

// urgency orders receivers by how much they want attention.
func urgency(s multicast.State) int {
	order := []multicast.State{
		multicast.Failed, multicast.Lost, multicast.Behind, multicast.Fetching,
		multicast.Receiving, multicast.Joining, multicast.Ready, multicast.Done,
	}
	return slices.Index(order, s)
}

// tableRows returns the head of the table and a row for each receiver.
func tableRows(list []multicast.ReceiverStatus) []string {
	cells := [][]string{{"name", "target", "state", "done", "Mbit/s", "loss", ""}}
	for _, r := range list {
		reason := r.Reason
		if reason == "" && r.Full {
			reason = "its disk is slow"
		}
		cells = append(cells, []string{
			clip(receiverName(r), 20), clip(r.Target, 20), string(r.State), fmt.Sprintf("%d %%", percent(r)),
			fmt.Sprintf("%.1f", float64(r.Rate)/1e6), fmt.Sprintf("%.1f %%", r.Loss*100), reason,
		})
	}
	width := make([]int, len(cells[0]))
	for _, row := range cells {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var rows []string
	for _, row := range cells {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i >= 3 && i <= 5 { // numbers
				b.WriteString(pad + cell + "  ")
			} else {
				b.WriteString(cell + pad + "  ")
			}
		}
		rows = append(rows, strings.TrimRight(b.String(), " "))
	}
	return rows
}

// clip cuts text to at most so many characters, and shows that it did.
func clip(text string, columns int) string {
	if utf8.RuneCountInString(text) <= columns {
		return text
	}
	return string([]rune(text)[:max(columns-1, 0)]) + "~"
}
