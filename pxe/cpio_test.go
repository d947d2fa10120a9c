package pxe

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// TestArchivePeer shows that cpio(1) reads our archive.
func TestArchivePeer(t *testing.T) {
	lab.Tools(t, "cpio")
	p, err := archive([]File{{"etc/slipcast/ticket.json", []byte("{}\n")}, {"etc/slipcast/seed", bytes.Repeat([]byte{7}, 64)}})
	if err != nil {
		t.Fatal(err)
	}
	if len(p)%512 != 0 {
		t.Errorf("archive of %d bytes, want a multiple of 512", len(p))
	}
	dir := t.TempDir()
	cmd := exec.Command("cpio", "-id", "--quiet")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(p)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "etc/slipcast/seed")); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{7}, 64)) {
		t.Errorf("seed = %x, %v, want 64 times 07", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "etc/slipcast/ticket.json")); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 3 {
		t.Errorf("ticket = %v, %v, want 3 bytes for root alone", info, err)
	}
}

// TestArchiveBytes is the smallest archive, byte for byte.
func TestArchiveBytes(t *testing.T) {
	p, err := archive([]File{{"a", []byte("hello")}})
	if err != nil {
		t.Fatal(err)
	}
	const zero = "00000000"
	want := "070701" + "00000001" + "00008180" + zero + zero + "00000001" + zero + "00000005" + zero + zero + zero + zero + "00000002" + zero + "a\x00" +
		"hello\x00\x00\x00" +
		"070701" + "00000002" + zero + zero + zero + "00000001" + zero + zero + zero + zero + zero + zero + "0000000b" + zero + "TRAILER!!!\x00"
	want += strings.Repeat("\x00", -len(want)&511)
	if string(p) != want {
		t.Errorf("archive =\n%q, want\n%q", p, want)
	}
}

func TestArchiveRejects(t *testing.T) {
	for _, f := range []File{
		{"", nil}, {"/etc/passwd", nil}, {"../x", nil}, {"a/../b", nil}, {".", nil},
		{strings.Repeat("a", 256), nil}, {"big", make([]byte, maxArchive+1)},
	} {
		if _, err := archive([]File{f}); err == nil {
			t.Errorf("archive of %.20q with %d bytes: no error, want one", f.Name, len(f.Data))
		}
	}
}
