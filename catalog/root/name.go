package root

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrName reports a name that a file system of Windows does not take.
var ErrName = errors.New("not a name for Windows and its file systems")

// maxWindowsName is how long a name on FAT and NTFS may be, in UTF-16 units.
const maxWindowsName = 255

// CheckName returns an error that wraps [ErrName] if a file must not be made
// with this name: FAT and NTFS have more rules than Linux, and what Linux can
// write there Windows could not open.
func (f *Filesystem) CheckName(name string) error {
	if !isFAT(f.Type) && !isNTFS(f.Type) {
		return nil
	}
	if why := windowsFault(name); why != "" {
		return fmt.Errorf("%w: %q %s", ErrName, name, why)
	}
	return nil
}

// windowsFault tells what is wrong with a name, by the rules of "Naming Files,
// Paths, and Namespaces" (Microsoft Learn).
func windowsFault(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "is none"
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case len(utf16.Encode([]rune(name))) > maxWindowsName:
		return "is too long"
	case strings.ContainsAny(name, `<>:"/\|?*`):
		return `has one of <>:"/\|?*`
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		return "has a control character"
	case strings.HasSuffix(name, ".") || strings.HasSuffix(name, " "):
		return "ends with a dot or a blank"
	case isWindowsDevice(name):
		return "is the name of a device"
	}
	return ""
}

// isWindowsDevice tells the names that are devices in every folder, whatever
// extension they have.
func isWindowsDevice(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	for _, prefix := range []string{"COM", "LPT"} {
		if digit, ok := strings.CutPrefix(stem, prefix); ok && digit != "" && strings.Contains("0123456789¹²³", digit) && utf8.RuneCountInString(digit) == 1 {
			return true
		}
	}
	return false
}
