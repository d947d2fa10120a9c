package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteText writes the impact for people: the sums, and every file if all is
// true. amount writes a number of bytes.
func (i *Impact) WriteText(w io.Writer, all bool, amount func(int64) string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(about, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", about, plain(fmt.Sprintf(format, args...)))
	}
	line("machines", "%d", i.Machines)
	line("bundles", "%d, %s for each machine", i.Steps, amount(i.Bytes))
	line("reboots", "%d", i.Reboots)
	line("files", "%d new, %d replaced, %d edited, %d removed, %s of contents", i.Count(New), i.Count(Replaced), i.Count(Edited), i.Count(Removed), amount(i.Written))
	for _, o := range i.Owners {
		line("owner", "%s: %s", o.Name, counted(o.Files, "file", "files"))
	}
	for _, p := range i.Packages {
		line("package", "%s", p.text())
	}
	for _, d := range i.Downgrades {
		line("downgrade", "%s", d)
	}
	for _, p := range i.Programs {
		line("program", "%s", p)
	}
	if all {
		for _, f := range i.Files {
			line(string(f.Effect), "%s", f.text())
		}
	}
	return t.Flush()
}

// text returns a package as a line.
func (p *PackageImpact) text() string {
	switch p.Effect {
	case New:
		return fmt.Sprintf("%s %s, which is not there", p.Name, p.To)
	case Same:
		return fmt.Sprintf("%s %s, which is there", p.Name, p.To)
	}
	return fmt.Sprintf("%s %s to %s", p.Name, p.From, p.To)
}

// text returns a file as a line.
func (f *FileImpact) text() string {
	text := f.Path
	if f.Files > 0 {
		text += fmt.Sprintf(" with %s", counted(f.Files, "file", "files"))
	}
	if f.Owner != "" {
		text += " of " + f.Owner
	}
	return text + ", by " + strings.Join(f.Bundles, ", ")
}

// WriteJSON writes the impact as one object on a line.
func (i *Impact) WriteJSON(w io.Writer) error {
	out := struct {
		Type   string `json:"type"`
		Schema int    `json:"schema"`
		*Impact
	}{"impact", schema, i.filled()}
	return json.NewEncoder(w).Encode(out)
}

// filled returns the impact with lists that are empty rather than nil, so that
// JSON has lists.
func (i *Impact) filled() *Impact {
	c := *i
	c.Files, c.Owners, c.Packages = append([]FileImpact{}, i.Files...), append([]OwnerImpact{}, i.Owners...), append([]PackageImpact{}, i.Packages...)
	c.Downgrades, c.Programs = append([]string{}, i.Downgrades...), append([]string{}, i.Programs...)
	return &c
}
