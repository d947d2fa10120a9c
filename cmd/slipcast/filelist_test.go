package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"slipcast/catalog/trust"
)

// listed returns a file of so many bytes, known by a digit.
func listed(digit string, size int64) trust.File {
	return trust.File{SHA256: strings.Repeat(digit, 64), Size: size}
}

// The vector of docs/protocol.md, section 12.
func TestFileListVector(t *testing.T) {
	doc, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(doc), "\nVector: what is said of 2 files")
	_, text, found := strings.Cut(text, "```\n")
	if !found {
		t.Fatal("docs/protocol.md has no vector of 2 files")
	}
	text, _, _ = strings.Cut(text, "```")
	want, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		t.Fatal(err)
	}
	l, err := newFileList(600, []trust.File{listed("a", 1000), listed("b", 5)})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.encode(); !bytes.Equal(got, want) {
		t.Errorf("encoded %x\nwant    %x", got, want)
	}
	got, err := parseFileList(want, 3)
	if err != nil || got.piece != 600 || !slices.Equal(got.files, l.files) {
		t.Errorf("parsed %+v, %v; want %+v", got, err, l)
	}
	type place struct {
		file       int
		start, end int64
	}
	for n, want := range []place{{0, 0, 600}, {0, 600, 1000}, {1, 0, 5}} {
		var got place
		if got.file, got.start, got.end = l.place(n); got != want || l.size(n) != int(want.end-want.start) {
			t.Errorf("piece %d is %+v, want %+v", n, got, want)
		}
	}
}

func TestFileListRefuses(t *testing.T) {
	good, err := newFileList(600, []trust.File{listed("a", 1000)})
	if err != nil {
		t.Fatal(err)
	}
	text := good.encode()
	number := func(at int, p ...byte) []byte { c := slices.Clone(text); copy(c[at:], p); return c }
	for name, tt := range map[string]struct {
		p      []byte
		frames int
	}{
		"nothing": {nil, 2}, "no files": {text[:4], 0}, "half a file": {text[:40], 2}, "one byte more": {append(slices.Clone(text), 0), 2},
		"other frames": {text, 3}, "pieces of nothing": {number(0, 0, 0), 2}, "pieces above 16 MiB": {number(0, 1, 0, 0, 1), 1},
		"a file of nothing": {number(36, 0, 0), 0}, "a negative length": {number(43, 0x80), 2}, "more than all memory": {number(42, 0x80), 2},
		"a file twice":   {append(slices.Clone(text), text[4:]...), 4},
		"too many files": {append(slices.Clone(text[:4]), bytes.Repeat(text[4:], maxListed+1)...), 2 * (maxListed + 1)},
	} {
		if l, err := parseFileList(tt.p, tt.frames); !errors.Is(err, errFileList) {
			t.Errorf("%s: %+v, %v; want errFileList", name, l, err)
		}
	}
}

// FuzzFileList: what is accepted encodes to the same bytes, and its pieces are
// all of its files, in their order.
func FuzzFileList(f *testing.F) {
	one, err := newFileList(600, []trust.File{listed("a", 1000), listed("b", 5)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one.encode(), 3)
	f.Fuzz(func(t *testing.T, p []byte, frames int) {
		l, err := parseFileList(p, frames)
		if err != nil {
			return
		}
		if got := l.encode(); !bytes.Equal(got, p) {
			t.Fatalf("encoded %x, want %x", got, p)
		}
		file, at := 0, int64(0)
		for n := range min(l.frames(), 1000) {
			i, start, end := l.place(n)
			if at == l.files[file].Size {
				file, at = file+1, 0
			}
			if i != file || start != at || end <= start || end-start > l.piece || end > l.files[i].Size {
				t.Fatalf("piece %d is %d to %d of file %d, want the next one after %d of %d", n, start, end, i, at, file)
			}
			at = end
		}
	})
}
