package pxe

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portUser returns which program has a port, as far as /proc tells; empty if
// it does not, since it is in another container or we are not root.
func portUser(network string, port uint16) string {
	inodes := portInodes("/proc/self/net/"+network, port)
	for n := range portInodes("/proc/self/net/"+network+"6", port) {
		inodes[n] = true
	}
	if len(inodes) == 0 {
		return ""
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/[0-9]*")
	if err != nil {
		return "" // the pattern is right
	}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil || !inodes[to] {
			continue
		}
		process := strings.Split(link, "/")[2]
		name, err := os.ReadFile("/proc/" + process + "/comm")
		if err != nil {
			continue // it has gone
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), process)
	}
	return ""
}

// portInodes returns the sockets in a table of the kernel that have a port and
// no peer, as /proc names them: socket:[4711]. See proc(5), /proc/net/tcp.
func portInodes(table string, port uint16) map[string]bool {
	inodes := make(map[string]bool)
	f, err := os.Open(table)
	if err != nil {
		return inodes
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || !strings.HasSuffix(fields[2], ":0000") {
			continue
		}
		_, hex, _ := strings.Cut(fields[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil && uint16(n) == port {
			inodes["socket:["+fields[9]+"]"] = true
		}
	}
	return inodes
}
