package root

import (
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"slipcast/internal/blockdev"
)

// maxFstab bounds etc/fstab in bytes.
const maxFstab = 1 << 20

// An fstabLine is a line of etc/fstab, fstab(5), that mounts something inside
// of a root.
type fstabLine struct {
	spec    string // the device: /dev/..., UUID=, LABEL=, PARTUUID=, PARTLABEL=
	path    string // inside of the root; "." for the root itself
	fsType  string
	options []string
}

// fstab reads the root's etc/fstab. There may be none.
func (r *Root) fstab() ([]fstabLine, error) {
	text, err := r.readFstab()
	if err != nil {
		return nil, err
	}
	return parseFstab(text), nil
}

func (r *Root) readFstab() ([]byte, error) {
	f, err := r.Open("etc/fstab")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFstab+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFstab {
		return nil, fmt.Errorf("etc/fstab: longer than %d bytes", maxFstab)
	}
	return text, nil
}

// parseFstab reads the lines that mount a local file system at a path, in the
// order in which they are to be mounted: a folder before what is in it. As
// mount(8) does, it passes over lines that it does not understand.
func parseFstab(text []byte) []fstabLine {
	var list []fstabLine
	for fields := range fstabFields(text) {
		if l, ok := parseFstabLine(fields); ok {
			list = append(list, l)
		}
	}
	slices.SortStableFunc(list, func(a, b fstabLine) int { return strings.Compare(a.path, b.path) })
	return list
}

// swapFiles returns the paths of the files that the system swaps to.
func swapFiles(text []byte) []string {
	var list []string
	for fields := range fstabFields(text) {
		names, err := clean(blockdev.Unescape(fields[0]))
		if fields[2] == "swap" && strings.HasPrefix(fields[0], "/") && err == nil && len(names) > 0 && names[0] != "dev" {
			list = append(list, strings.Join(names, "/"))
		}
	}
	return list
}

// fstabFields returns the fields of each line that says something, at least three.
func fstabFields(text []byte) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) >= 3 && !strings.HasPrefix(fields[0], "#") && !yield(fields) {
				return
			}
		}
	}
}

func parseFstabLine(fields []string) (fstabLine, bool) {
	spec, point, fsType := blockdev.Unescape(fields[0]), blockdev.Unescape(fields[1]), fields[2]
	options := []string{"defaults"}
	if len(fields) > 3 {
		options = strings.Split(blockdev.Unescape(fields[3]), ",")
	}
	names, err := clean(point)
	if err != nil || !strings.HasPrefix(point, "/") || isVirtual(fsType) || fsType == "swap" || slices.Contains(options, "bind") || slices.Contains(options, "rbind") {
		return fstabLine{}, false
	}
	path := strings.Join(names, "/")
	if path == "" {
		path = "."
	}
	return fstabLine{spec: spec, path: path, fsType: fsType, options: options}, true
}

// has tells whether a line has an option.
func (l fstabLine) has(option string) bool { return slices.Contains(l.options, option) }
