package blockdev

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxMountLine bounds one line of mountinfo in bytes. The kernel writes at
// most three escaped paths of 4 KiB and the options; an overlay of hundreds
// of layers has the longest.
const maxMountLine = 1 << 20

// A mount is one line of /proc/PID/mountinfo.
type mount struct {
	id      int
	parent  int
	dev     devno  // st_dev of the file system; of major 0 if no block device is below it
	root    string // what of the file system is mounted
	point   string // where, seen from the root of this process
	fsType  string
	source  string   // often the device, but whatever mount(2) was told
	options []string // of the file system, not of the mount
}

// parseMounts reads the format of proc_pid_mountinfo(5). A line that does not
// follow it is an error, because what it hides might be the wrong disk.
func parseMounts(r io.Reader) ([]mount, error) {
	var mounts []mount
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxMountLine)
	for lines.Scan() {
		m, err := parseMount(lines.Text())
		if err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, lines.Err()
}

// parseMount reads one line:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// Any number of optional fields may stand before the dash.
func parseMount(line string) (mount, error) {
	bad := func() (mount, error) { return mount{}, fmt.Errorf("mountinfo: malformed line %q", line) }
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Split(before, " "), strings.Split(after, " ")
	if !ok || len(left) < 6 || len(right) != 3 {
		return bad()
	}
	id, err1 := strconv.Atoi(left[0])
	parent, err2 := strconv.Atoi(left[1])
	dev, err3 := parseDevno(left[2])
	if err1 != nil || err2 != nil || err3 != nil {
		return bad()
	}
	return mount{
		id: id, parent: parent, dev: dev,
		root: Unescape(left[3]), point: Unescape(left[4]),
		fsType: Unescape(right[0]), source: Unescape(right[1]),
		options: splitOptions(right[2]),
	}, nil
}

// splitOptions splits at the commas and unescapes each option: a comma that
// is part of a value is written \054.
func splitOptions(s string) []string {
	options := strings.Split(s, ",")
	for i, o := range options {
		options[i] = Unescape(o)
	}
	return options
}

// Unescape replaces \ooo, three octal digits, by its byte, as the kernel writes
// blanks, line ends and backslashes in its tables, and people in fstab(5).
// Anything else stays as it is.
func Unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountOf returns the mount that path, absolute and without links, lies on:
// the last of those with the longest mount point, since later mounts cover
// earlier ones. It returns nil if there is none.
func mountOf(mounts []mount, path string) *mount {
	var best *mount
	for i := range mounts {
		if m := &mounts[i]; within(path, m.point) && (best == nil || len(m.point) >= len(best.point)) {
			best = m
		}
	}
	return best
}

// within reports whether path is dir or lies below it.
func within(path, dir string) bool {
	return path == dir || dir == "/" && strings.HasPrefix(path, "/") || strings.HasPrefix(path, dir+"/")
}
