package root

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"slipcast/internal/blockdev"
)

// maxMountLine bounds one line of mountinfo in bytes: the kernel writes at
// most three escaped paths of 4 KiB, and options, which are long where an
// overlay has hundreds of layers.
const maxMountLine = 1 << 20

// A mountLine is one line of /proc/PID/mountinfo.
type mountLine struct {
	id       uint64
	readOnly bool
	fsType   string
	source   string
}

// readMounts returns the mounts that this thread sees, by their number.
func readMounts() (map[uint64]mountLine, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseMounts(f)
}

// parseMounts reads the format of proc_pid_mountinfo(5).
func parseMounts(r io.Reader) (map[uint64]mountLine, error) {
	mounts := make(map[uint64]mountLine)
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxMountLine)
	for lines.Scan() {
		m, ok := parseMount(lines.Text())
		if !ok {
			return nil, fmt.Errorf("mountinfo: malformed line %q", lines.Text())
		}
		mounts[m.id] = m
	}
	return mounts, lines.Err()
}

// parseMount reads one line:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// Any number of optional fields may stand before the dash.
func parseMount(line string) (mountLine, bool) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Split(before, " "), strings.Split(after, " ")
	if !ok || len(left) < 6 || len(right) != 3 {
		return mountLine{}, false
	}
	id, err := strconv.ParseUint(left[0], 10, 64)
	if err != nil {
		return mountLine{}, false
	}
	return mountLine{
		id:       id,
		readOnly: hasOption(left[5], "ro") || hasOption(right[2], "ro"),
		fsType:   blockdev.Unescape(right[0]),
		source:   blockdev.Unescape(right[1]),
	}, true
}

func hasOption(list, name string) bool {
	for option := range strings.SplitSeq(list, ",") {
		if option == name {
			return true
		}
	}
	return false
}
