package bundle

import (
	"bytes"
	"testing"
)

// What bundle init writes can be built as it is.
func TestInitBuilds(t *testing.T) {
	dir := t.TempDir()
	if err := Init(dir, "greeting"); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	m, err := Build(t.Context(), dir, &out, BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := b.Manifest.ID(), "greeting@1.0.0-1"; got != want || m.ID() != want {
		t.Errorf("ID = %s and %s, want %s", got, m.ID(), want)
	}
	if err := b.Verify(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
