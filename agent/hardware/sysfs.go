package hardware

import (
	"bufio"
	"bytes"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"slipcast/agent/wire"
)

// clean makes a text of a device plain.
func clean(s string) string { return wire.Plain(s, wire.MaxField) }

// attr returns the text of a file, cleaned; empty if it cannot be read.
func attr(fsys fs.FS, name ...string) string {
	text, err := fs.ReadFile(fsys, path.Join(name...))
	if err != nil {
		return ""
	}
	return clean(string(text))
}

// number returns the number in a file; 0 if there is none.
func number(fsys fs.FS, name ...string) int64 {
	n, err := strconv.ParseInt(attr(fsys, name...), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// names returns what is in a folder; nothing if it cannot be read.
func names(fsys fs.FS, folder string) []string {
	list, _ := fs.ReadDir(fsys, folder)
	var out []string
	for _, d := range list {
		out = append(out, d.Name())
	}
	return out
}

// resolve returns where the symbolic link at name leads to within sysfs; name
// itself if it is none, or leads out.
func resolve(fsys fs.FS, name string) string {
	link, err := fs.ReadLink(fsys, name)
	if err != nil {
		return name
	}
	if to := path.Join(path.Dir(name), link); fs.ValidPath(to) {
		return to
	}
	return name
}

// field returns the value of the first line "key: value" of a file in procfs.
func field(fsys fs.FS, name, key string) string {
	text, _ := fs.ReadFile(fsys, name)
	scan := bufio.NewScanner(bytes.NewReader(text))
	for scan.Scan() {
		k, value, ok := strings.Cut(scan.Text(), ":")
		if ok && strings.TrimSpace(k) == key {
			return clean(value)
		}
	}
	return ""
}
