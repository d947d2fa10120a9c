package depot

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipcast/catalog/trust"
	"slipcast/image/store"
)

// export exports the shop's store into a new folder, in parts of most bytes.
func (s *shop) export(opt ExportOptions) (dir string, done *Exported, paths []string) {
	s.t.Helper()
	dir = s.t.TempDir()
	done, err := Export(s.t.Context(), s.store, dir, opt)
	if err != nil {
		s.t.Fatal(err)
	}
	paths, err = Parts(dir)
	if err != nil || len(paths) != len(done.Parts) {
		s.t.Fatalf("%d parts, %v, want %d", len(paths), err, len(done.Parts))
	}
	return dir, done, paths
}

// take imports parts.
func take(t testing.TB, s *store.Store, root []byte, paths ...string) *Imported {
	t.Helper()
	done, err := Import(t.Context(), s, paths, ImportOptions{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// TestExport shows that parts are tar streams of files as they lie in the store, none
// longer than it may be, that the same store gives the same parts, and that the list
// says what they are.
func TestExport(t *testing.T) {
	s := stocked(t)
	const most = 200 * kiB
	var total, came int64
	dir, done, paths := s.export(ExportOptions{MaxPart: most, Begin: func(n int64) { total = n }, Progress: func(n int64) { came += n }})
	if len(paths) < 6 || done.Bundles != 3 || done.Images != 3 || done.Frames != 11 || total != came {
		t.Errorf("Export = %+v, %d of %d bytes", done, came, total)
	}
	text, err := os.ReadFile(filepath.Join(dir, done.List))
	if err != nil {
		t.Fatal(err)
	}
	l, err := decodeList(text)
	if err != nil || len(l.Parts) != len(paths) {
		t.Fatalf("the list %v, %v", l, err)
	}
	again, _, _ := s.export(ExportOptions{MaxPart: most})
	var seen []byte
	for i, path := range paths {
		p, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if sum, err := sumOf(path); err != nil || len(p) > most || sum != l.Parts[i].SHA256 || int64(len(p)) != l.Parts[i].Bytes || filepath.Base(path) != l.Parts[i].Name {
			t.Errorf("%s: %d bytes, %s, the list says %+v", path, len(p), sum, l.Parts[i])
		}
		same, err := os.ReadFile(filepath.Join(again, filepath.Base(path)))
		if err != nil || !bytes.Equal(same, p) {
			t.Errorf("%s: the second export has other bytes, %v", path, err)
		}
		seen = append(seen, wantMembers(t, s, p)...)
	}
	if len(seen) == 0 {
		t.Error("no contents")
	}
}

// wantMembers reads a part with archive/tar, and holds its members against the
// store.
func wantMembers(t *testing.T, s *shop, part []byte) (contents []byte) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(part))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return contents
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == listName || h.Name == sumName {
			continue
		}
		contents = append(contents, p...)
		want, err := parsePiece(h.Name, h.Size)
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.ReadFile(filepath.Join(s.dir(), want.path))
		if err != nil || int64(len(file)) != want.total || !bytes.Equal(file[want.offset:want.offset+want.size], p) {
			t.Errorf("%s is not what lies in the store: %v", h.Name, err)
		}
	}
}

// TestExportRefuses shows what cannot be exported.
func TestExportRefuses(t *testing.T) {
	s := stocked(t)
	for _, tt := range []struct {
		opt  ExportOptions
		want error
	}{
		{ExportOptions{MaxPart: 1}, ErrPart}, {ExportOptions{MaxPart: 8 * kiB}, ErrPart}, {ExportOptions{Since: 99}, ErrSince},
	} {
		if _, err := Export(t.Context(), s.store, t.TempDir(), tt.opt); !errors.Is(err, tt.want) {
			t.Errorf("Export %+v = %v, want %v", tt.opt, err, tt.want)
		}
	}
	if _, err := Export(t.Context(), newStore(t), t.TempDir(), ExportOptions{}); !errors.Is(err, trust.ErrNotCatalog) {
		t.Errorf("without a catalog: %v, want ErrNotCatalog", err)
	}
	path := filepath.Join(s.dir(), framesOf(t, s.store, "room", "2")[3])
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p[len(p)/2]++
	write(t, path, p)
	dir := t.TempDir()
	if _, err := Export(t.Context(), s.store, dir, ExportOptions{}); !isWrong(err) {
		t.Errorf("with a damaged frame: %v, want that it is damaged", err)
	}
	if entries, err := os.ReadDir(dir); len(entries) > 0 || err != nil {
		t.Errorf("what is left: %v, %v, want nothing", entries, err)
	}
	if _, err := Export(t.Context(), s.store, t.TempDir(), ExportOptions{MaxPart: 40 * kiB}); !isWrong(err) {
		t.Errorf("with a damaged frame that is divided: %v, want that it is damaged", err)
	}
}

// TestImportOrder brings parts in a random order, some of them, some twice, in one
// call or several, and then the rest: the store is the same always, and has no catalog
// before the end.
func TestImportOrder(t *testing.T) {
	s := stocked(t)
	_, _, paths := s.export(ExportOptions{MaxPart: 150 * kiB})
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		have := newStore(t)
		order := slices.Clone(paths)
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		missing := slices.Clone(order)
		for len(missing) > 0 {
			n := 1 + rng.IntN(len(missing))
			batch := slices.Clone(missing[:n])
			missing = missing[n:]
			for range rng.IntN(3) {
				batch = append(batch, order[rng.IntN(len(order)-len(missing))])
			}
			done := take(t, have, s.root, batch...)
			if (done.Catalog != nil) != (len(missing) == 0) || (len(done.Missing) == 0) != (len(missing) == 0) || len(done.Faults) > 0 {
				t.Fatalf("seed %d: %d parts are missing, Import = %+v", seed, len(missing), done)
			}
			for _, m := range done.Missing {
				for _, name := range m.Parts {
					if !slices.ContainsFunc(missing, func(path string) bool { return filepath.Base(path) == name }) {
						t.Errorf("seed %d: %s is said to be missing, and has come: %+v", seed, name, m)
					}
				}
				if len(m.Parts) == 0 {
					t.Errorf("seed %d: %+v: which part has it?", seed, m)
				}
			}
			wantGood(t, have)
		}
		s.wantSame(have)
		if done := take(t, have, nil, paths...); done.Catalog == nil || done.Bundles+done.Images != 0 {
			t.Errorf("seed %d: once more: %+v", seed, done)
		}
		s.wantSame(have)
	}
}

// TestImportFlipped flips bits in parts. The part is named, whatever is good in it is
// taken, nothing wrong is, and the good part makes up for it.
func TestImportFlipped(t *testing.T) {
	s := stocked(t)
	_, _, paths := s.export(ExportOptions{MaxPart: 500 * kiB})
	rng := rand.New(rand.NewPCG(5, 6))
	lost := 0
	for round := range 40 {
		victim := paths[rng.IntN(len(paths))]
		p, err := os.ReadFile(victim)
		if err != nil {
			t.Fatal(err)
		}
		at := rng.IntN(len(p))
		if round%3 == 0 { // in a header, or the list, rather
			at = rng.IntN(1024)
		}
		p[at] ^= 1 << rng.IntN(8)
		if round%10 == 9 {
			p = p[:at]
		}
		bad := filepath.Join(t.TempDir(), filepath.Base(victim))
		write(t, bad, p)
		batch := slices.Clone(paths)
		batch[slices.Index(paths, victim)] = bad
		have := newStore(t)
		done := take(t, have, s.root, batch...)
		if len(done.Faults) != 1 || done.Faults[0].Part != bad || done.Faults[0].Err == nil {
			t.Fatalf("a bit of byte %d of %s: Import = %+v, want that it is named", at, victim, done)
		}
		if len(done.Faults[0].Lost) > 0 {
			lost++
		}
		if done.Catalog == nil {
			for _, m := range done.Missing {
				if len(m.Parts) > 0 && !slices.Equal(m.Parts, []string{filepath.Base(victim)}) {
					t.Errorf("missing is %+v, want that it is in %s", m, filepath.Base(victim))
				}
			}
			if done = take(t, have, s.root, victim); done.Catalog == nil {
				t.Errorf("a bit of byte %d of %s, and then the good part: Import = %+v", at, victim, done)
			}
		}
		s.wantSame(have)
	}
	if lost < 12 {
		t.Errorf("%d of 40 flips lost a piece by name", lost)
	}
}

// TestImportSince shows that an export since a snapshot has what is new, and that it
// is told when what came before is missing.
func TestImportSince(t *testing.T) {
	s, have := stocked(t), newStore(t)
	before := catalogOf(t, s.store, s.root).Versions.Snapshot
	_, _, first := s.export(ExportOptions{})
	s.image("room@3", 1, 2, 9)
	s.bundles("late@1-1 low 5000")
	_, done, second := s.export(ExportOptions{Since: before})
	if done.Bundles != 1 || done.Images != 1 || done.Frames != 1 {
		t.Errorf("Export since %d = %+v, want 1 bundle, 1 image and 1 frame", before, done)
	}
	got := take(t, have, s.root, second...)
	if got.Catalog != nil || len(got.Missing) == 0 || len(got.Missing[0].Parts) > 0 {
		t.Errorf("without the first: Import = %+v, want that things are missing that no part has", got)
	}
	if got = take(t, have, s.root, first...); got.Catalog == nil {
		t.Errorf("with both: Import = %+v", got)
	}
	s.wantSame(have)
	if _, err := Import(t.Context(), have, first, ImportOptions{}); !errors.Is(err, trust.ErrRollback) {
		t.Errorf("the first once more: %v, want ErrRollback", err)
	}
	s.wantSame(have)
}

// TestImportPayload shows that less than all can be brought.
func TestImportPayload(t *testing.T) {
	s, have := stocked(t), newStore(t)
	_, done, paths := s.export(ExportOptions{Payload: Critical})
	if done.Bundles != 1 || done.Images != 0 {
		t.Errorf("Export = %+v, want 1 bundle", done)
	}
	if got := take(t, have, s.root, paths...); got.Catalog == nil || got.Bundles != 1 {
		t.Errorf("Import = %+v, want 1 bundle", got)
	}
}

// TestImportTrust shows what is not taken for a catalog.
func TestImportTrust(t *testing.T) {
	s, other := stocked(t), newShop(t)
	_, _, paths := s.export(ExportOptions{})
	if _, err := Import(t.Context(), newStore(t), paths, ImportOptions{}); !errors.Is(err, ErrNoRoot) {
		t.Errorf("without a root: %v, want ErrNoRoot", err)
	}
	if _, err := Import(t.Context(), newStore(t), paths, ImportOptions{Root: other.root}); !errors.Is(err, trust.ErrSignature) && !errors.Is(err, ErrOtherRoot) {
		t.Errorf("with another's root: %v, want ErrSignature", err)
	}
	if _, err := Import(t.Context(), other.store, paths, ImportOptions{}); !errors.Is(err, trust.ErrSignature) {
		t.Errorf("into a store with another catalog: %v, want ErrSignature", err)
	}
}

// TestMain lets the test run itself as a process that imports or mirrors and is
// killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("DEPOT_IMPORT"); dir != "" {
		os.Exit(importMain(dir, os.Getenv("DEPOT_STORE"), os.Getenv("DEPOT_ROOT")))
	}
	os.Exit(m.Run())
}

func importMain(dir, at, root string) int {
	s, err := store.Open(at)
	if err != nil {
		return 1
	}
	paths, err := Parts(dir)
	if err != nil {
		return 1
	}
	text, err := os.ReadFile(root)
	if err != nil {
		return 1
	}
	done, err := Import(context.Background(), s, paths, ImportOptions{Root: text})
	if err != nil || done.Catalog == nil {
		fmt.Fprintln(os.Stderr, err, done)
		return 1
	}
	return 0
}

// TestImportKilled kills an import at random moments, and runs it again until it comes
// to its end: nothing is ever damaged, and everything is there.
func TestImportKilled(t *testing.T) {
	s, have := stocked(t), newStore(t)
	dir, _, _ := s.export(ExportOptions{MaxPart: 150 * kiB})
	root := filepath.Join(t.TempDir(), "root.json")
	write(t, root, s.root)
	rng := rand.New(rand.NewPCG(7, 8))
	killed := 0
	for most := 40; ; most += 20 { // milliseconds
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Stderr = os.Stderr
		cmd.Env = append(os.Environ(), "DEPOT_IMPORT="+dir, "DEPOT_STORE="+have.Dir(), "DEPOT_ROOT="+root)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(rng.IntN(most))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		wantGood(t, have)
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "killed") {
			t.Fatal(err)
		}
		killed++
	}
	t.Logf("killed %d times", killed)
	if _, err := have.GC(t.Context()); err != nil { // what adds left
		t.Fatal(err)
	}
	s.wantSame(have)
}
