package bundle

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// giantSize is more than 32 bits hold, and so much that tar needs another kind
// of header.
const giantSize = 8<<30 + 3

// What lies behind contents of 8 GiB is found, without reading them.
func TestBehindGiant(t *testing.T) {
	m := sample("")
	m.Payload[0].Overlay.Entries = append(m.Payload[0].Overlay.Entries, Entry{Path: "usr/bin/second", Type: RegularFile, Data: 1})
	var l layout
	m.Files = []File{
		{Size: giantSize, SHA256: digestOf("not looked at"), Offset: l.add(0, giantSize)},
		{Size: 8, SHA256: digestOf("after it"), Offset: l.add(1, 8)},
	}
	file := giant(t, member(manifestName, encoded(t, m))+string(tarHeader("data/0", giantSize)), padded(giantSize), member("data/1", "after it")+end)
	b, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, b, 1); got != "after it" {
		t.Errorf("contents %q, want %q", got, "after it")
	}
}

// giant packs a stream with so many zeros in the middle that making them one by
// one would take long.
func giant(t *testing.T, before string, zeros int64, after string) []byte {
	t.Helper()
	enc, err := newEncoder(1)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	var file []byte
	var frames []frame
	add := func(raw []byte, times int64) {
		p := enc.EncodeAll(raw, nil)
		for range times {
			file = append(file, p...)
			frames = append(frames, frame{uint32(len(p)), uint32(len(raw)), checksum(raw)})
		}
	}
	add([]byte(before), 1)
	add(make([]byte, frameSize), zeros/frameSize)
	add(append(make([]byte, zeros%frameSize), after...), 1)
	return appendSeekTable(file, frames)
}

// Contents of more than 32 bits are built, and read back whole. With the race
// detector, which makes minutes of it, they are smaller; make unit runs the test
// without it, too. The file is sparse: no disk has to hold it.
func TestGiant(t *testing.T) {
	size := int64(4<<30 + 3)
	if raceDetector {
		size = 64<<20 + 3
	}
	dir := folderOf(t, map[string]string{
		"bundle.yaml": head + "payload:\n  - overlay: {from: files}\n",
		"files/b":     "after it",
	})
	f, err := os.Create(filepath.Join(dir, "files/a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	file, m := built(t, dir)
	if got := m.Files[0].Size; got != size {
		t.Errorf("size %d, want %d", got, size)
	}
	if err := check(t, file); err != nil {
		t.Error(err)
	}
}
