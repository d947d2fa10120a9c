package depot

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// importing returns how many bytes of memory an Import of parts has taken, all in all.
func importing(t *testing.T, s *shop, parts ...[]byte) (bytes uint64) {
	t.Helper()
	var paths []string
	dir := t.TempDir()
	for i, p := range parts {
		paths = append(paths, filepath.Join(dir, fmt.Sprintf("%d.slx", i)))
		write(t, paths[i], p)
	}
	have := newStore(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	done, err := Import(t.Context(), have, paths, ImportOptions{Root: s.root})
	runtime.ReadMemStats(&after)
	if err != nil || done.Catalog != nil || len(done.Missing) == 0 {
		t.Errorf("Import = %+v, %v, want that something is missing", done, err)
	}
	return after.TotalAlloc - before.TotalAlloc
}

// TestImportMemory shows that hostile parts, which nobody has signed, take no memory to
// speak of.
func TestImportMemory(t *testing.T) {
	s := newShop(t)
	const large = 32 << 20
	head := make([]byte, 32)
	copy(head, "SLIPSTOR\x01")
	head[16] = 1
	preface := make([]byte, large)
	sum := sha256.Sum256(slices.Concat(head, preface))
	version := string(slices.Concat(head, sum[:], preface)) // is whole, and no image
	half := len(version) / 2 / tarBlock * tarBlock
	manyParts := func(value string) string {
		return `{"schema":1,"snapshot":7,"payload":"all","parts":[` + strings.Repeat(value+",", (maxList-100)/(len(value)+1)) + value + "]}\n"
	}
	for about, c := range map[string]struct {
		parts [][]byte
		most  uint64
	}{
		"version file":               {[][]byte{writeMembers(testMember{"images/x/1", version})}, 16 << 20},
		"version file that is wrong": {[][]byte{writeMembers(testMember{"images/x/1", strings.Repeat("x", large)})}, 16 << 20},
		"version file in pieces": {[][]byte{
			writeMembers(testMember{fmt.Sprintf("images/x/1#0-%d", len(version)), version[:half]}),
			writeMembers(testMember{fmt.Sprintf("images/x/1#%d-%d", half, len(version)), version[half:]}),
		}, 16 << 20},
		"list of objects":      {[][]byte{writeMembers(testMember{listName, manyParts("{}")})}, maxList + 16<<20},
		"list of numbers":      {[][]byte{writeMembers(testMember{listName, manyParts("0")})}, maxList + 16<<20},
		"list that is nothing": {[][]byte{writeMembers(testMember{listName, strings.Repeat("[", maxList)})}, maxList + 16<<20},
	} {
		if took := importing(t, s, c.parts...); took > c.most {
			t.Errorf("%s: %d MiB of memory, want at most %d", about, took>>20, c.most>>20)
		}
	}
}

// TestImportLongVersion shows that a version file which is whole, and longer than that of
// any such image, is not read, and does not keep the good one from coming.
func TestImportLongVersion(t *testing.T) {
	s, have := stocked(t), newStore(t)
	_, _, paths := s.export(ExportOptions{})
	head := make([]byte, 32)
	copy(head, "SLIPSTOR\x01")
	head[16] = 1
	preface := make([]byte, 20<<20)
	sum := sha256.Sum256(slices.Concat(head, preface))
	forged := filepath.Join(t.TempDir(), "forged.slx")
	write(t, forged, writeMembers(testMember{"images/lab/1", string(slices.Concat(head, sum[:], preface))}))
	done := take(t, have, s.root, append(slices.Clone(paths), forged)...)
	if done.Catalog != nil || len(done.Missing) != 1 || done.Missing[0].ID != "lab@1" {
		t.Errorf("Import = %+v, want that lab@1 is missing", done)
	}
	if done = take(t, have, s.root, paths...); done.Catalog == nil {
		t.Errorf("and then the good one: Import = %+v", done)
	}
	s.wantSame(have)
}
