package agent

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"slipcast/agent/wire"
)

// maxRecord is the size of the largest record of /dev/kmsg (CONSOLE_EXT_LOG_MAX).
const maxRecord = 8 << 10

// kernelLog returns all lines that the kernel remembers.
func kernelLog() []string {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return []string{"the kernel's log cannot be read: " + err.Error()}
	}
	defer unix.Close(fd)
	unix.Seek(fd, 0, io.SeekStart)
	buffer := make([]byte, maxRecord)
	var lines []string
	for range 1 << 20 {
		n, err := unix.Read(fd, buffer)
		switch {
		case err == unix.EPIPE, err == unix.EINTR:
			continue // records were overwritten before they were read
		case err != nil || n <= 0:
			return lines
		}
		if line, ok := parseRecord(string(buffer[:n])); ok {
			lines = append(lines, line)
		}
	}
	return lines
}

// parseRecord reads a record of /dev/kmsg (Documentation/ABI/testing/dev-kmsg):
// "level,number,microseconds,flags;text", and then lines of a dictionary.
func parseRecord(record string) (line string, ok bool) {
	head, text, ok := strings.Cut(record, ";")
	f := strings.Split(head, ",")
	if !ok || len(f) < 3 {
		return "", false
	}
	us, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || us < 0 {
		return "", false
	}
	text, _, _ = strings.Cut(text, "\n")
	return fmt.Sprintf("[%6d.%06d] ", us/1e6, us%1e6) + wire.Plain(text, 1000), true
}

// missingFirmware are files that drivers asked for in vain.
var missingFirmware = regexp.MustCompile(`(?:firmware: failed to load|Direct firmware load for|Unable to load firmware) ([A-Za-z0-9_./-]{1,200})`)

// kernelNotes returns what the kernel's log says about firmware that is missing
// from the boot environment.
func kernelNotes(log []string) []string {
	var notes []string
	for _, line := range log {
		if m := missingFirmware.FindStringSubmatch(line); m != nil {
			notes = append(notes, "firmware is missing: "+m[1])
		}
	}
	slices.Sort(notes)
	return slices.Compact(notes)
}
