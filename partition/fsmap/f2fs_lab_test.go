package fsmap

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// An f2fsVariant is one way to make an F2FS volume.
type f2fsVariant struct {
	name  string
	size  int64 // of the volume in bytes
	fill  int64 // about how many bytes of files
	flags string
}

func f2fsVariants() []f2fsVariant {
	return []f2fsVariant{
		{"default", 128 << 20, 12 << 20, "-l LAB"},
		{"odd size", 100<<20 + 5*4096, 12 << 20, "-l Пример"},
		{"features", 128 << 20, 12 << 20, "-O extra_attr,inode_checksum,sb_checksum,quota,inode_crtime,lost_found,verity," +
			"project_quota,compression,encrypt"},
		{"large bitmap of nodes", 128 << 20, 12 << 20, "-i"},
		{"larger sections", 192 << 20, 12 << 20, "-s 2 -z 2"},
		{"from the end", 128 << 20, 12 << 20, "-a 1 -o 12"},
		{"sectors of 4 KiB", 128 << 20, 12 << 20, "-w 4096"},
		{"Android", 128 << 20, 12 << 20, "-g android"},
	}
}

// makeF2FS makes an F2FS volume, fills it by sload.f2fs and returns its path
// and the digests of its files by their names. What sload.f2fs writes wrongly
// on volumes with certain features (checksums of inodes, quotas) fsck.f2fs
// repairs.
func makeF2FS(t testing.TB, v f2fsVariant, from *trees) (path string, files map[string]string) {
	t.Helper()
	lab.Tools(t, "mkfs.f2fs", "sload.f2fs", "fsck.f2fs", "dump.f2fs")
	path = lab.File(t, v.size)
	lab.Run(t, "mkfs.f2fs", append(strings.Fields(v.flags), "-q", path)...)
	dir := from.tree(t, v.fill, 4)
	lab.Run(t, "sload.f2fs", "-f", dir, path)
	if out, err := exec.Command("fsck.f2fs", "-f", path).CombinedOutput(); err != nil {
		t.Logf("fsck.f2fs: %v\n%s", err, out)
	}
	files = map[string]string{}
	for name, digest := range lab.Tree(t, dir) {
		if digest != "directory" {
			files[filepath.Base(name)] = digest
		}
	}
	return path, files
}

// fsckF2FS returns what fsck.f2fs says, which must be that all is well.
func fsckF2FS(t testing.TB, path string) string {
	t.Helper()
	out := lab.Run(t, "fsck.f2fs", "--dry-run", "-t", path)
	if strings.Contains(out, "Fail") || strings.Contains(out, "ASSERT") || !strings.Contains(out, "[Ok..]") {
		t.Errorf("fsck.f2fs: %s", out)
	}
	return out
}

// f2fsFiles returns the digests of the files that fsck.f2fs lists, by their
// names. There is no kernel driver here, so dump.f2fs reads each of them.
func f2fsFiles(t testing.TB, path, listing string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{}
	for _, found := range regexp.MustCompile(`-- (file-\d+) <ino = (0x[0-9a-f]+)>`).FindAllStringSubmatch(listing, -1) {
		name, inode := found[1], found[2]
		cmd := exec.Command("dump.f2fs", "-i", inode, path)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader("Y\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("dump.f2fs %s: %v\n%s", name, err, out)
		}
		p, err := os.ReadFile(filepath.Join(dir, "lost_found", name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = fmt.Sprintf("%x", sha256.Sum256(p))
	}
	return files
}

// wantF2FSBlocks fails the test unless m has what is before the main area, the
// blocks that fsck.f2fs counted, and the free block at the end of the log.
func wantF2FSBlocks(t testing.TB, m *Map, path, fsck string) {
	t.Helper()
	s, _ := f2fsOf(t, openOverlay(t, path))
	valid := numberIn(t, fsck, `valid_block_count matching with CP\s+\[Ok..\] \[(0x[0-9a-f]+)\]`)
	if got, want := m.Used.Size()/f2fsBlock, s.main+valid+1; got != want {
		t.Errorf("got %d blocks in use, want %d: %d, %d valid ones and one", got, want, s.main, valid)
	}
}

// The files are compared with themselves before the garbage: of small files on
// volumes with extra attributes dump.f2fs reads the wrong bytes of the inode.
func TestF2FSGarbage(t *testing.T) {
	from := newTrees(t)
	for _, v := range f2fsVariants() {
		t.Run(v.name, func(t *testing.T) {
			path, files := makeF2FS(t, v, from)
			fsck := fsckF2FS(t, path)
			before := f2fsFiles(t, path, fsck)
			if len(before) != len(files) {
				t.Fatalf("%d of %d files on the volume", len(before), len(files))
			}
			m := mapPath(t, path)
			wantMap(t, m, path)
			wantF2FSBlocks(t, m, path, fsck)
			garbageAround(t, m, path)
			lab.SameTree(t, f2fsFiles(t, path, fsckF2FS(t, path)), before)
		})
	}
}

// Blocks that were moved leave holes in segments.
func TestF2FSMoved(t *testing.T) {
	lab.Tools(t, "defrag.f2fs")
	path, files := makeF2FS(t, f2fsVariants()[0], newTrees(t))
	s, _ := f2fsOf(t, openOverlay(t, path))
	before := mapPath(t, path).Used
	from := slices.MaxFunc(before[1:], func(a, b partition.Extent) int { return cmp.Compare(a.Length, b.Length) })
	lab.Run(t, "defrag.f2fs", "-s", fmt.Sprint(from.Start/f2fsBlock+100), "-l", "800",
		"-t", fmt.Sprint(s.main+30*f2fsSegment), path)
	fsck := fsckF2FS(t, path)
	m := mapPath(t, path)
	wantMap(t, m, path)
	wantF2FSBlocks(t, m, path, fsck)
	if len(m.Used) <= len(before) {
		t.Errorf("nothing was moved: %v", m.Used)
	}
	garbageAround(t, m, path)
	lab.SameTree(t, f2fsFiles(t, path, fsckF2FS(t, path)), files)
}

// A volume without files has entries in the journal of segments, in compact
// summaries.
func TestF2FSEmpty(t *testing.T) {
	lab.Tools(t, "mkfs.f2fs", "fsck.f2fs")
	for _, flags := range []string{"-l EMPTY", "-i", "-O casefold -C utf8"} {
		path := lab.File(t, 64<<20)
		lab.Run(t, "mkfs.f2fs", append(strings.Fields(flags), path)...)
		m := mapPath(t, path)
		wantMap(t, m, path)
		wantF2FSBlocks(t, m, path, fsckF2FS(t, path))
		garbageAround(t, m, path)
		fsckF2FS(t, path)
	}
}

// Partclone copies whole segments: those with a valid block in them and some
// of those where a log goes on.
func TestF2FSPartclone(t *testing.T) {
	path, _ := makeF2FS(t, f2fsVariants()[0], newTrees(t))
	m := mapPath(t, path)
	s, c := f2fsOf(t, openOverlay(t, path))
	segment := func(i int64) partition.Extent {
		return partition.Extent{Start: (s.main + i*f2fsSegment) * f2fsBlock, Length: f2fsSegment * f2fsBlock}
	}
	rounded := []partition.Extent{{Length: s.main * f2fsBlock}}
	for _, log := range append(c.nodeLogs[:], c.dataLogs[:]...) {
		rounded = append(rounded, segment(log.segment))
	}
	for i := range s.segments {
		if m.Used.Touches(segment(i)) {
			rounded = append(rounded, segment(i))
		}
	}
	theirs := partcloneUsed(t, "partclone.f2fs", path)
	if most := partition.Normalize(rounded).Size(); theirs < m.Used.Size() || theirs > most {
		t.Errorf("got %d bytes, in whole segments up to %d, want %d", m.Used.Size(), most, theirs)
	}
}

// The kernel writes each block of the table of segments in turns to two places
// and keeps the latest changes in a journal; the tools do neither. Here the
// test does it, and fsck.f2fs agrees about the places: an entry moves into the
// journal, the block to the other place, and what was there is zeroed.
func TestF2FSTablePlaces(t *testing.T) {
	from := newTrees(t)
	for _, flags := range []string{"", "-i"} {
		v := f2fsVariants()[0]
		v.flags = flags
		path, _ := makeF2FS(t, v, from)
		before := mapPath(t, path)
		o := openOverlay(t, path)
		s, c := f2fsOf(t, o)
		segment, entry := firstSegment(t, o, s)

		o.write(s.sit*f2fsBlock+segment*f2fsSITEntrySize, make([]byte, f2fsSITEntrySize))
		if !mapOverlay(t, o).Whole {
			t.Error("a table that lacks blocks is trusted")
		}
		journal := append([]byte{1, 0, byte(segment), 0, 0, 0}, entry...)
		o.write((c.at+c.blocks-7+f2fsLogCold)*f2fsBlock+f2fsSummaries, journal)
		if m := mapOverlay(t, o); m.Whole || !slices.Equal(m.Used, before.Used) {
			t.Errorf("with the journal: got whole %v, %v, want %v", m.Whole, m.Used, before.Used)
		}

		o.write((s.sit+s.sitSize)*f2fsBlock, o.bytes(s.sit*f2fsBlock, f2fsBlock))
		o.write(s.sit*f2fsBlock, make([]byte, f2fsBlock))
		at := int64(f2fsCPBitmaps)
		if flags == "-i" {
			at += 4 + c.natBytes
		}
		for _, pack := range []int64{s.cp, s.cp + f2fsSegment} {
			putF2FSCheckpoint(o, pack, at, "\x80")
			putF2FSCheckpoint(o, pack, 132, "\x01") // the flag of a bitmap that repeats the checksum goes
		}
		saveOverlay(t, o, path)

		fsck := fsckF2FS(t, path)
		m := mapPath(t, path)
		wantMap(t, m, path)
		wantF2FSBlocks(t, m, path, fsck)
		if !slices.Equal(m.Used, before.Used) {
			t.Errorf("got %v, want %v", m.Used, before.Used)
		}
	}
}

// firstSegment returns number and entry of the first segment with valid
// blocks, which must be in the first block of the table.
func firstSegment(t testing.TB, o *overlay, s *f2fsSuper) (segment int64, entry []byte) {
	t.Helper()
	for segment := range int64(f2fsSITEntries) {
		entry := o.bytes(s.sit*f2fsBlock+segment*f2fsSITEntrySize, f2fsSITEntrySize)
		if entry[0] != 0 {
			return segment, entry
		}
	}
	t.Fatal("no segment with valid blocks")
	return 0, nil
}

// saveOverlay writes what has changed on o to the file at path.
func saveOverlay(t testing.TB, o *overlay, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at, page := range o.pages {
		if _, err := f.WriteAt(page, at); err != nil {
			t.Fatal(err)
		}
	}
}
