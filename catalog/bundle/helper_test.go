package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample returns a manifest with one file of these contents that breaks no rule.
func sample(contents string) *Manifest {
	m := &Manifest{
		Header: Header{Schema: 1, Name: "reader", Version: "9.3.0", Scheme: "dotted", Release: 2, Family: Linux},
		Payload: []Payload{{Overlay: &Overlay{
			Entries: []Entry{{Path: "usr/bin/reader", Type: RegularFile, Mode: 0o755}},
		}}},
	}
	m.Files = filesOf(contents)
	return m
}

// filesOf describes contents as they lie in a bundle.
func filesOf(contents ...string) []File {
	var list []File
	var l layout
	for i, c := range contents {
		list = append(list, File{Size: int64(len(c)), SHA256: digestOf(c), Offset: l.add(i, int64(len(c)))})
	}
	return list
}

func digestOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// encoded returns the canonical JSON of m.
func encoded(t testing.TB, m *Manifest) string {
	t.Helper()
	p, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// member returns a member of a tar stream as a bundle has it.
func member(name, contents string) string {
	size := int64(len(contents))
	return string(tarHeader(name, size)) + contents + strings.Repeat("\x00", int(padded(size)-size))
}

// end is how a tar stream ends.
var end = strings.Repeat("\x00", tarEnd)

// seekable packs a stream as a bundle is packed.
func seekable(t testing.TB, stream string) []byte {
	t.Helper()
	var out bytes.Buffer
	p, err := newPacker(t.Context(), &out, 1)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(p, stream)
	if err := p.finish(err); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// check opens and verifies a bundle.
func check(t testing.TB, file []byte) error {
	b, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return err
	}
	return b.Verify(t.Context(), nil)
}

// folderOf makes a folder of files: name → contents. A name that ends in a slash
// is a folder, contents that begin with "-> " are a link, "= " a hard link.
func folderOf(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if strings.HasPrefix(text, "= ") {
			continue
		}
		plant(t, filepath.Join(dir, name), name, text)
	}
	for name, text := range files {
		if target, ok := strings.CutPrefix(text, "= "); ok {
			if err := os.Link(filepath.Join(dir, target), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// plant makes one file. Scripts and what lies in a bin can be run.
func plant(t testing.TB, path, name, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o777)
	target, isLink := strings.CutPrefix(text, "-> ")
	switch {
	case err != nil:
	case strings.HasSuffix(name, "/"):
		err = os.MkdirAll(path, 0o777)
	case isLink:
		err = os.Symlink(target, path)
	case strings.HasPrefix(text, "#!") || strings.Contains(name, "/bin/"):
		err = os.WriteFile(path, []byte(text), 0o755)
	default:
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// head is how every bundle.yaml of the tests begins, on four lines.
const head = "schema: 1\nname: reader\nversion: 9.3.0\nscheme: dotted\n"

// build builds the bundle of a folder. What can be built, the schema of
// bundle.yaml accepts.
func build(t testing.TB, dir string) ([]byte, *Manifest, error) {
	t.Helper()
	var out bytes.Buffer
	m, err := Build(t.Context(), dir, &out, BuildOptions{})
	if err == nil {
		checkAccepted(t, dir)
	}
	return out.Bytes(), m, err
}

// built builds the bundle of a folder, which must be right.
func built(t testing.TB, dir string) ([]byte, *Manifest) {
	t.Helper()
	file, m, err := build(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	return file, m
}
