package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"slipcast/image"
	"slipcast/internal/progress"
	"slipcast/partition"
)

// showLayout tells what is on a disk that is about to be captured.
func (e *env) showLayout(path, what string, l *image.Layout) {
	if !e.quiet && !e.json {
		fmt.Fprintf(e.stderr, "slipcast: %s: %s\n", path, what)
		writeLayout(e.stderr, l, "  ")
	}
	if e.quiet {
		return // the notes are in the image, too
	}
	for _, n := range layoutNotes(l) {
		e.note(n.about, n.text)
	}
}

// A remark is a note and what it is about.
type remark struct{ about, text string }

// layoutNotes returns all notes of a layout.
func layoutNotes(l *image.Layout) []remark {
	var list []remark
	for _, n := range l.Notes {
		list = append(list, remark{"disk", n})
	}
	for i := range l.Volumes {
		v := &l.Volumes[i]
		for _, n := range v.Notes {
			list = append(list, remark{v.Name(), n})
		}
	}
	return list
}

// writeLayout prints a table of the partitions and what is on them.
func writeLayout(w io.Writer, l *image.Layout, indent string) {
	fmt.Fprintf(w, "%s%s\n", indent, tableLine(l))
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "%s#\tstart\tsize\tused\tcontents\tlabel\ttype\n", indent)
	for i := range l.Volumes {
		v := &l.Volumes[i]
		number, kind := "-", ""
		if p := l.Table.Partition(v.Number); p != nil {
			number, kind = fmt.Sprint(v.Number), partition.TypeName(p.Type)
		}
		line := strings.Join([]string{indent + number, progress.Bytes(v.Start), progress.Bytes(v.Size),
			progress.Bytes(l.UsedIn(v.Extent())), contents(v), v.Label, kind}, "\t")
		fmt.Fprintln(t, strings.TrimRight(line, "\t"))
	}
	t.Flush()
}

// tableLine describes the table of a disk.
func tableLine(l *image.Layout) string {
	switch l.Table.Kind {
	case partition.GPT:
		return fmt.Sprintf("GPT %s, %s, sectors of %d bytes", l.Table.ID, count(len(l.Table.Partitions), "partition"), l.LogicalSector)
	case partition.MBR:
		return fmt.Sprintf("MBR %s, %s, sectors of %d bytes", l.Table.ID, count(len(l.Table.Partitions), "partition"), l.LogicalSector)
	}
	return "no partition table"
}

// contents names what is on a volume.
func contents(v *image.Volume) string {
	words := []string{kind(*v)}
	if v.Dirty {
		words = append(words, "dirty")
	}
	if v.Whole {
		words = append(words, "whole")
	}
	return strings.Join(words, ", ")
}
