package blockdev

import (
	"bufio"
	"io"
	"strings"
)

// parseSwaps reads the format of /proc/swaps (proc_swaps(5)) and returns the
// paths of the swap devices and files: one a line, the path first, under one
// line of headings.
func parseSwaps(r io.Reader) ([]string, error) {
	var paths []string
	lines := bufio.NewScanner(r)
	for first := true; lines.Scan(); first = false {
		fields := strings.Fields(lines.Text())
		if first || len(fields) == 0 {
			continue
		}
		path := strings.TrimSuffix(Unescape(fields[0]), " (deleted)")
		paths = append(paths, path)
	}
	return paths, lines.Err()
}
