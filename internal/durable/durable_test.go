package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A file is replaced as a whole, whatever an earlier run has left, and a secret
// never has other rights than its own.
func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	for _, text := range []string{"first", "2nd"} {
		if err := os.WriteFile(path+partial, []byte("left over, and longer"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := WriteFile(path, 0o600, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("it holds %q, %v; want %q", got, err, text)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
		}
		if _, err := os.Lstat(path + partial); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: something is left over", err)
		}
	}
	// What cannot be replaced stays, and nothing lies beside it.
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.MkdirAll(filepath.Join(dir, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(dir, 0o600, nil); err == nil {
		t.Error("a folder was replaced by a file")
	}
	if _, err := os.Lstat(dir + partial); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v: something is left over", err)
	}
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	if err := Rename(filepath.Join(dir, "none"), filepath.Join(dir, "to")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	if err := SyncDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if p, err := os.ReadFile(to); err != nil || string(p) != "x" {
		t.Errorf("it holds %q, %v", p, err)
	}
}
