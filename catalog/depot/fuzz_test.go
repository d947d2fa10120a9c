package depot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
)

// A testMember is a member of a part.
type testMember struct{ name, contents string }

// writeMembers returns a part with these members and its sum.
func writeMembers(members ...testMember) []byte {
	var b bytes.Buffer
	out := &partWriter{w: &b, sum: sha256.New()}
	for _, m := range members {
		out.member(m.name, strings.NewReader(m.contents), int64(len(m.contents)))
	}
	sum := hex.EncodeToString(out.sum.Sum(nil)) + "\n"
	out.member(sumName, strings.NewReader(sum), int64(len(sum)))
	out.write(make([]byte, tarEnd))
	return b.Bytes()
}

// readMembers reads a part.
func readMembers(t *testing.T, p []byte) (members []testMember, reader *partReader) {
	t.Helper()
	r := newPartReader(t.Context(), bytes.NewReader(p), nil)
	for {
		name, size, err := r.next()
		if errors.Is(err, io.EOF) {
			return members, r
		}
		if err != nil {
			t.Fatal(err)
		}
		var contents bytes.Buffer
		if _, err := r.contents(size, func(from io.Reader) error { _, err := io.Copy(&contents, from); return err }); err != nil {
			t.Fatal(err)
		}
		members = append(members, testMember{name, contents.String()})
	}
}

// FuzzPart reads parts. One that is good is just what its members make; of any other
// it is told what is wrong, and it is read to its end.
func FuzzPart(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	f.Add(writeMembers())
	f.Add(writeMembers(testMember{"list.json", "{}\n"}, testMember{"frames/18/ab/" + digest, strings.Repeat("x", 600)}))
	f.Add(writeMembers(testMember{"images/" + strings.Repeat("n", 63) + "/" + strings.Repeat("v", 63), ""}))
	f.Add(append(writeMembers(testMember{"a", "b"}), make([]byte, 512)...))
	f.Add(append(writeMembers(testMember{"a", "b"})[512:], writeMembers(testMember{"c", "d"})...))
	f.Fuzz(func(t *testing.T, p []byte) {
		members, r := readMembers(t, p)
		if r.at != int64(len(p)) {
			t.Errorf("%d bytes were read of %d", r.at, len(p))
		}
		if r.good == (r.err != nil) {
			t.Errorf("good is %v, and the damage is %v", r.good, r.err)
		}
		if again := writeMembers(members...); r.good && !bytes.Equal(again, p) {
			t.Errorf("%x is good, and its members make %x", p, again)
		}
	})
}

// FuzzList reads lists. What is read is written the same, and every byte of every file
// is in one of its parts.
func FuzzList(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	l := list{Schema: 1, Snapshot: 7, Payload: "all", Parts: []listPart{
		{Name: partName(7, 1), First: "catalog/bundles/" + digest + ".slb"},
		{Name: partName(7, 2), First: "catalog/bundles/" + digest + ".slb#512-1024", Bytes: 5, SHA256: digest},
		{Name: partName(7, 3), First: "images/a/b"},
	}}
	f.Add(l.encode())
	f.Add([]byte(`{"schema":1,"snapshot":7,"payload":"none","parts":[{"name":"slipcast-7-001.slx","first":"images/a/b"}]}` + "\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		l, err := decodeList(p)
		if err != nil {
			return
		}
		if again := l.encode(); !bytes.Equal(again, p) {
			t.Errorf("%q is written as %q", p, again)
		}
		for i, part := range l.Parts {
			path, offset := place(part.First)
			if got := l.partOf(path, offset); got != part.Name {
				t.Errorf("the first piece of part %d is said to be in %s", i+1, got)
			}
			if got := l.partOf(path, offset+1); got < part.Name && len(got) == len(part.Name) {
				t.Errorf("what comes behind it is said to be in %s", got)
			}
		}
	})
}

// FuzzPiece reads names of pieces: what is taken is written the same, and leads to a
// place in a store.
func FuzzPiece(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	for _, name := range []string{
		"catalog/metadata/timestamp.json", "catalog/metadata/3.root.json", "catalog/bundles/" + digest + ".slb#512-9999", "frames/20/ab/" + digest,
		"images/room/1", "images/room/1#0-700", "../x", "images/a/../b", "images/a@b/c", "frames/20/cd/" + digest, "images/a/b#1-2#3-4",
	} {
		f.Add(name, int64(512))
	}
	f.Fuzz(func(t *testing.T, name string, size int64) {
		p, err := parsePiece(name, size)
		if err != nil {
			return
		}
		if p.name() != name || size > 0 && (p.offset < 0 || p.offset+p.size > p.total) {
			t.Errorf("%q of %d bytes is %+v, which is called %q", name, size, p, p.name())
		}
		if strings.Contains(p.path, "..") && !strings.HasPrefix(p.path, "images/") || strings.Contains(p.path, "/../") || strings.HasPrefix(p.path, "/") || strings.ContainsRune(p.path, 0) {
			t.Errorf("%q leads to %q", name, p.path)
		}
		if len(name) <= 255 && size >= 0 && size <= maxPiece {
			if got, n, err := parseHeader(tarHeader(name, size)); err != nil || got != name || n != size {
				t.Errorf("the header of %q is read as %q, %d, %v", name, got, n, err)
			}
		}
	})
}
