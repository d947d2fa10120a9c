package agent

import (
	"fmt"
	"strings"
	"time"

	"slipcast/internal/progress"
)

// A view is what the screen shows.
type view struct {
	Version string
	Machine string // its name
	Address string // interface and address
	Server  string
	Job     string // number and kind
	Image   string
	Disk    string
	Step    string
	Done    int64  // bytes
	Total   int64  // 0 if they are not known
	Rate    int64  // bytes a second
	Problem string // what is wrong, in one line
	Ask     []string
	Lines   []string // the last of the log
}

// draw returns the screen as lines of at most so many columns. The last lines
// of the log fill what is left of the rows.
func (v *view) draw(columns, rows int) []string {
	list := []string{"slipcast " + v.Version, ""}
	for _, f := range []struct{ name, text string }{
		{"machine", v.Machine}, {"address", v.Address}, {"server", v.Server}, {"job", v.Job}, {"image", v.Image},
		{"disk", v.Disk}, {"step", v.Step}, {"", v.bar(columns)}, {"wrong", v.Problem},
	} {
		if f.text != "" {
			list = append(list, fmt.Sprintf("  %-9s%s", f.name, f.text))
		}
	}
	if len(v.Ask) > 0 {
		list = append(list, "", "  Which disk is meant? All on it will be lost. Type its number:")
		for i, text := range v.Ask {
			list = append(list, fmt.Sprintf("  %3d) %s", i+1, text))
		}
	}
	list = append(list, "")
	room := max(0, rows-len(list)-1)
	list = append(list, v.Lines[max(0, len(v.Lines)-room):]...)
	list = list[:min(len(list), rows-1)]
	for i := range list {
		list[i] = cut(list[i], columns-1)
	}
	return list
}

// bar returns the progress, empty if there is none.
func (v *view) bar(columns int) string {
	if v.Done == 0 && v.Total == 0 {
		return ""
	}
	text := v.progress()
	width := min(40, columns-len(text)-16)
	if v.Total <= 0 || width < 10 {
		return text
	}
	full := int(float64(width) * min(1, float64(v.Done)/float64(v.Total)))
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "] " + text
}

// progress returns how far the step is, for people.
func (v *view) progress() string {
	text := progress.Bytes(v.Done)
	if v.Total > 0 {
		text = fmt.Sprintf("%d %%, %s of %s", min(100, v.Done*100/v.Total), text, progress.Bytes(v.Total))
	}
	if v.Rate > 0 {
		text += ", " + progress.Bytes(v.Rate) + "/s"
		if left := v.Total - v.Done; left > 0 {
			text += fmt.Sprintf(", %s left", (time.Duration(left/v.Rate) * time.Second).String())
		}
	}
	return text
}

// cut shortens s to so many characters.
func cut(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:max(0, most)])
	}
	return s
}
