package bundle

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf16"
)

// Bounds of paths, section 5.
const (
	longestPath      = 4096 // bytes
	longestComponent = 255  // bytes (NAME_MAX), or UTF-16 units in a Windows
	deepestPath      = 64
)

// checkPath checks a path of a root of that family: relative, clean, no way
// out, and a name that the family can have.
func checkPath(family, path string) error {
	switch {
	case path == "":
		return errors.New("is missing")
	case len(path) > longestPath:
		return fmt.Errorf("path of %d bytes, at most %d are allowed", len(path), longestPath)
	case strings.HasPrefix(path, "/"):
		return fmt.Errorf("%q is absolute", path)
	}
	if err := checkOneLine(path, longestPath); err != nil {
		return err
	}
	parts := strings.Split(path, "/")
	if len(parts) > deepestPath {
		return fmt.Errorf("%q is %d folders deep, at most %d are allowed", path, len(parts), deepestPath)
	}
	for _, part := range parts {
		if err := checkComponent(family, part); err != nil {
			return fmt.Errorf("%q: %w", path, err)
		}
	}
	return checkOurs(family, parts)
}

// checkComponent checks one name of a path.
func checkComponent(family, name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("not a clean path: it has %q in it", name)
	case strings.Contains(name, "\t"):
		return errors.New("it has a tab in it")
	case family == Windows:
		return checkWindowsName(name)
	case len(name) > longestComponent:
		return fmt.Errorf("a name of %d bytes, at most %d are allowed", len(name), longestComponent)
	}
	return nil
}

// deviceName are names that Windows gives to devices, with any ending: Microsoft
// Learn, "Naming Files, Paths, and Namespaces". It knows the digits ¹, ² and ³, too.
var deviceName = regexp.MustCompile(`(?i)^(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)`)

// checkWindowsName checks a name by the rules of the same page.
func checkWindowsName(name string) error {
	last := name[len(name)-1]
	switch {
	case strings.Contains(name, ":"):
		return errors.New("a colon names a stream of a file, not a file")
	case strings.ContainsAny(name, `<>"\|?*`):
		return errors.New(`no name in a Windows has one of < > " \ | ? *`)
	case last == '.' || last == ' ':
		return errors.New("no name in a Windows ends in a dot or a blank")
	case deviceName.MatchString(name):
		return errors.New("it is the name of a device in a Windows")
	case len(utf16.Encode([]rune(name))) > longestComponent:
		return fmt.Errorf("a name of more than %d characters", longestComponent)
	}
	return nil
}

// checkOurs keeps bundles out of what slipcast keeps on a root, section 9.6.
func checkOurs(family string, parts []string) error {
	ours := []string{"var", "lib", "slipcast"}
	if family == Windows {
		ours = []string{"programdata", "slipcast"}
	}
	if strings.EqualFold(parts[0], ".slipcast") {
		return errors.New(".slipcast is where slipcast keeps its own state")
	}
	if len(parts) < len(ours) {
		return nil
	}
	for i, name := range ours {
		if parts[i] != name && (family != Windows || !strings.EqualFold(parts[i], name)) {
			return nil
		}
	}
	return fmt.Errorf("%s is where slipcast keeps its own state", strings.Join(parts[:len(ours)], "/"))
}

// checkLink checks the text of the symbolic link at path: it may be absolute, which means
// from the root, but does not climb out of it.
func checkLink(path, text string) error {
	switch {
	case text == "":
		return errors.New("a symbolic link to nothing")
	case len(text) >= longestPath:
		return fmt.Errorf("a link of %d bytes, at most %d are allowed", len(text), longestPath-1)
	}
	if err := checkOneLine(text, longestPath); err != nil {
		return err
	}
	depth := strings.Count(path, "/")
	if strings.HasPrefix(text, "/") {
		depth = 0
	}
	for part := range strings.SplitSeq(text, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return fmt.Errorf("link %q leads out of the root", text)
		}
	}
	return nil
}
