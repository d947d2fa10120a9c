package depot

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Names in an export, section 12.3.
const (
	listName   = "list.json"
	sumName    = "sum"
	partEnding = ".slx"
	maxList    = 64 << 20 // bytes
	maxParts   = 100000
)

// A list tells what an export consists of.
type list struct {
	Schema   int        `json:"schema"`
	Snapshot int64      `json:"snapshot"`
	Since    int64      `json:"since,omitempty"`
	Payload  string     `json:"payload"`
	Parts    []listPart `json:"parts"`
}

// A listPart is a part of an export. In the list that lies in the parts themselves
// there are no lengths and no digests.
type listPart struct {
	Name   string `json:"name"`
	First  string `json:"first"` // name of its first piece
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// partName returns what a part is called, from 1.
func partName(snapshot int64, number int) string {
	return fmt.Sprintf("slipcast-%d-%03d%s", snapshot, number, partEnding)
}

// finalName returns what the list is called that has the digests.
func finalName(snapshot int64) string { return fmt.Sprintf("slipcast-%d.json", snapshot) }

var sumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// encode returns the list as it lies in a file.
func (l *list) encode() []byte {
	p, err := json.Marshal(l)
	if err != nil {
		panic(err) // texts and numbers
	}
	return append(p, '\n')
}

// decodeList reads a list, which must be written as it is by encode. Beside p it takes
// at most 64 MiB of memory, and as much again as p if p has no more parts than it may.
func decodeList(p []byte) (*list, error) {
	if len(p) > maxList {
		return nil, errors.New("a list of more than 64 MiB")
	}
	// Brackets and commas stand between values alone, since no name has one. Each makes
	// a value, for which memory would be taken before anybody counts parts.
	if bytes.Count(p, []byte{'{'}) > maxParts+1 || bytes.Count(p, []byte{','}) > 4*(maxParts+1) {
		return nil, fmt.Errorf("the list: more than %d parts", maxParts)
	}
	l := new(list)
	if err := json.Unmarshal(p, l); err != nil {
		return nil, fmt.Errorf("the list: %w", err)
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	if !bytes.Equal(l.encode(), p) {
		return nil, errors.New("the list is not written as it must be")
	}
	return l, nil
}

func (l *list) check() error {
	if l.Schema != 1 || l.Snapshot < 1 || l.Snapshot > 1<<31-1 || l.Since < 0 || l.Since > l.Snapshot || len(l.Parts) < 1 || len(l.Parts) > maxParts {
		return errors.New("the list: schema, numbers or parts are not as they must be")
	}
	if _, err := ParsePayload(l.Payload); err != nil {
		return fmt.Errorf("the list: payload %w", err)
	}
	for i, p := range l.Parts {
		first, err := parsePiece(p.First, 1)
		if err != nil && strings.ContainsRune(p.First, '#') {
			return fmt.Errorf("the list: part %d: %w", i+1, err)
		}
		if !isOffered(first.path) || p.Name != partName(l.Snapshot, i+1) || p.Bytes < 0 || p.SHA256 != "" && !sumForm.MatchString(p.SHA256) {
			return fmt.Errorf("the list: part %d is not as it must be", i+1)
		}
		if i > 0 && l.compare(l.Parts[i-1].First, p.First) >= 0 {
			return fmt.Errorf("the list: part %d does not come behind the one before it", i+1)
		}
	}
	return nil
}

// place returns path and offset of a piece that is called so.
func place(name string) (string, int64) {
	path, rest, _ := strings.Cut(name, "#")
	var offset int64
	_, _ = fmt.Sscan(strings.SplitN(rest, "-", 2)[0], &offset)
	return path, offset
}

// compare orders pieces by path and offset.
func (l *list) compare(a, b string) int {
	pathA, offA := place(a)
	pathB, offB := place(b)
	if c := strings.Compare(pathA, pathB); c != 0 {
		return c
	}
	return int(min(max(offA-offB, -1), 1))
}

// partOf returns the name of the part that has the byte at offset of a path, if the
// export has it at all.
func (l *list) partOf(path string, offset int64) string {
	want := fmt.Sprintf("%s#%d-", path, offset)
	at, found := slices.BinarySearchFunc(l.Parts, want, func(p listPart, name string) int { return l.compare(p.First, name) })
	if !found && at > 0 {
		at--
	}
	return l.Parts[at].Name
}
