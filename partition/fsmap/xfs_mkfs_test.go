package fsmap

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// xfsTestSize is the size of test file systems in bytes, unless they need more.
const xfsTestSize = 128 << 20

// xfsMkfs makes a file system of size bytes (xfsTestSize if it is zero) in a
// sparse file and returns its path. The variables are those of xfstests, for
// which mkfs.xfs makes file systems below 300 MB and logs below 64 MB.
func xfsMkfs(t testing.TB, size int64, args ...string) string {
	t.Helper()
	for _, name := range []string{"TEST_DIR", "TEST_DEV", "QA_CHECK_FS"} {
		t.Setenv(name, "1")
	}
	if size == 0 {
		size = xfsTestSize
	}
	path := lab.File(t, size)
	lab.Run(t, "mkfs.xfs", append(append([]string{"-q"}, args...), path)...)
	return path
}

// xfsReadFile maps the file at path.
func xfsReadFile(t testing.TB, path string) *Map {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	m, err := Read(context.Background(), f, info.Size(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// xfsDB runs commands of xfs_db, which only reads, and returns what it printed.
func xfsDB(t testing.TB, path string, commands ...string) string {
	t.Helper()
	args := []string{"-r"}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	return lab.Run(t, "xfs_db", append(args, path)...)
}

// xfsNumber returns the number behind name in the output of xfs_db.
func xfsNumber(t testing.TB, out, name string) int64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` = (\d+)$`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no %s in %q", name, out)
	}
	n, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// xfsCheckFree compares m with what xfs_db finds free. It counts the blocks of
// the AGFL as free, a handful in every group, which we keep.
func xfsCheckFree(t testing.TB, path string, m *Map) {
	t.Helper()
	sb := xfsDB(t, path, "sb 0", "p agblocks agcount dblocks")
	perGroup, groups := xfsNumber(t, sb, "agblocks"), xfsNumber(t, sb, "agcount")
	free, reserved := xfsFree(t, path, perGroup*m.BlockSize, m.BlockSize), int64(0)
	for group := range groups {
		out := xfsDB(t, path, fmt.Sprintf("agf %d", group), "p flcount")
		reserved += xfsNumber(t, out, "flcount") * m.BlockSize
	}
	used := free.Gaps(partition.Extent{Start: 0, Length: xfsNumber(t, sb, "dblocks") * m.BlockSize})
	if missing := used.Minus(m.Used); len(missing) > 0 {
		t.Errorf("the map misses %v", missing)
	}
	if extra := m.Used.Size() - used.Size(); extra != reserved {
		t.Errorf("%d bytes more than xfs_db in use, want the AGFL's %d", extra, reserved)
	}
}

// xfsFree returns the free extents that xfs_db lists, in bytes.
func xfsFree(t testing.TB, path string, perGroup, blockSize int64) partition.Extents {
	t.Helper()
	var free []partition.Extent
	lines := bufio.NewScanner(strings.NewReader(xfsDB(t, path, "freesp -d")))
	for lines.Scan() {
		var group, block, count int64
		n, _ := fmt.Sscan(lines.Text(), &group, &block, &count)
		if strings.Contains(lines.Text(), "from") {
			break // the histogram
		}
		if n == 3 {
			free = append(free, partition.Extent{Start: group*perGroup + block*blockSize, Length: count * blockSize})
		}
	}
	return partition.Normalize(free)
}

// xfsCheckPartclone compares the size of m with what partclone says is in use:
// the free blocks of the superblock, which include the AGFL and all blocks of
// the free space B+trees but the roots. We keep both.
func xfsCheckPartclone(t testing.TB, path string, m *Map) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "log")
	out := lab.Run(t, "partclone.xfs", "-c", "-s", path, "-O", "/dev/null", "-L", log)
	found := regexp.MustCompile(`Space in use: .* = (\d+) Blocks`).FindStringSubmatch(out)
	if found == nil {
		t.Fatalf("no count in %q", out)
	}
	theirs, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	extra := int64(0)
	for group := range xfsNumber(t, xfsDB(t, path, "sb 0", "p agcount"), "agcount") {
		agf := xfsDB(t, path, fmt.Sprintf("agf %d", group), "p flcount btreeblks")
		extra += xfsNumber(t, agf, "flcount") + xfsNumber(t, agf, "btreeblks")
	}
	if ours := m.Used.Size() / m.BlockSize; ours < theirs || ours > theirs+extra {
		t.Errorf("%d blocks in use, partclone says %d, and %d more at most", ours, theirs, extra)
	}
}

// xfsCheckIdentity compares m with what blkid prints.
func xfsCheckIdentity(t testing.TB, path string, m *Map) {
	t.Helper()
	for name, got := range map[string]string{"TYPE": m.Type, "UUID": m.UUID, "LABEL": m.Label} {
		out, _ := exec.Command("blkid", "-p", "-s", name, "-o", "value", path).Output() // fails without a label
		if want := strings.TrimRight(string(out), "\n"); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

// xfsCheckClean compares the verdict on the log with that of xfs_logprint.
func xfsCheckClean(t testing.TB, path string, m *Map) {
	t.Helper()
	clean := strings.Contains(lab.Run(t, "xfs_logprint", "-t", path), "state: <CLEAN>")
	if m.Dirty == clean || m.Whole != m.Dirty {
		t.Fatalf("dirty %v, whole %v (%q), and xfs_logprint says that clean is %v", m.Dirty, m.Whole, m.Notes, clean)
	}
}

// xfsPrototype writes a description of files for mkfs.xfs -p, which fills a
// file system without a mount, and returns its path and the files' sources.
func xfsPrototype(t testing.TB) (path string, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	files = map[string]string{}
	text := "/\n0 0\nd--755 0 0\n"
	for i := range 40 {
		source := filepath.Join(dir, fmt.Sprintf("f%d", i))
		data := strings.Repeat(fmt.Sprintf("file %d ", i), 1+i*i*60)
		if err := os.WriteFile(source, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
		files[fmt.Sprintf("d%d/f%d", i%4, i)] = data
	}
	for d := range 4 {
		text += fmt.Sprintf("d%d d--755 0 0\n", d)
		for i := d; i < 40; i += 4 {
			text += fmt.Sprintf("f%d ---644 0 0 %s/f%d\n", i, dir, i)
		}
		text += "$\n"
	}
	path = filepath.Join(dir, "proto")
	if err := os.WriteFile(path, []byte(text+"$\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path, files
}

// xfsCheckFiles compares files with the blocks that xfs_db says they are in.
func xfsCheckFiles(t testing.TB, path string, files map[string]string, m *Map) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	perGroup := xfsNumber(t, xfsDB(t, path, "sb 0", "p agblocks"), "agblocks")
	extent := regexp.MustCompile(`data offset (\d+) startblock \d+ \((\d+)/(\d+)\) count (\d+)`)
	for name, want := range files {
		got := make([]byte, (int64(len(want))+m.BlockSize-1)/m.BlockSize*m.BlockSize)
		for _, e := range extent.FindAllStringSubmatch(xfsDB(t, path, "path /"+name, "bmap"), -1) {
			var n [4]int64
			for i := range n {
				n[i], _ = strconv.ParseInt(e[i+1], 10, 64)
			}
			if _, err := f.ReadAt(got[n[0]*m.BlockSize:(n[0]+n[3])*m.BlockSize], (n[1]*perGroup+n[2])*m.BlockSize); err != nil {
				t.Fatal(err)
			}
		}
		if string(got[:len(want)]) != want {
			t.Errorf("%s has changed", name)
		}
	}
}

// TestXFSMkfs fills file systems without mounting them, so that it also shows
// version 4 and block sizes that not every kernel mounts.
func TestXFSMkfs(t *testing.T) {
	lab.Tools(t, "mkfs.xfs", "xfs_db", "xfs_repair", "xfs_logprint", "partclone.xfs", "blkid")
	for _, args := range []string{
		"",
		"-b size=1024 -L nameoflength",
		"-b size=16384",
		"-b size=65536 -d agcount=2 -L ümlaut",
		"-s size=4096",
		"-s size=2048 -b size=2048",
		"-s size=32768 -b size=32768 -d agcount=2",
		"-l su=256k",
		"-d agcount=8",
		"-m crc=0",
		"-m crc=0 -b size=512 -i size=256",
		"-m crc=0 -b size=1024 -l version=1",
		"-m crc=0 -b size=65536 -s size=4096 -d agcount=1",
		"-m crc=0 -l lazy-count=0",
		"-m crc=0 -l su=64k -d agcount=7",
		"-m rmapbt=1,reflink=1 -d agcount=5",
		"-m rmapbt=1,reflink=0,finobt=0,inobtcount=0",
		"-m crc=0 -n version=ci",
	} {
		t.Run(args, func(t *testing.T) {
			proto, files := xfsPrototype(t)
			path := xfsMkfs(t, 0, append(strings.Fields(args), "-p", proto)...)
			m := xfsReadFile(t, path)
			xfsCheckClean(t, path, m)
			xfsCheckFree(t, path, m)
			xfsCheckPartclone(t, path, m)
			xfsCheckIdentity(t, path, m)
			lab.Garbage(t, path, m.Size, m.Used)
			lab.Run(t, "xfs_repair", "-n", "-o", "force_geometry", path)
			xfsCheckFiles(t, path, files, m)
		})
	}
}

// TestXFSTools maps file systems after the tools that write a new log.
func TestXFSTools(t *testing.T) {
	lab.Tools(t, "mkfs.xfs", "xfs_admin", "xfs_repair", "xfs_logprint", "blkid", "xfs_db")
	for _, args := range []string{"", "-l su=32k", "-l su=256k", "-m crc=0", "-s size=4096"} {
		t.Run(args, func(t *testing.T) {
			path := xfsMkfs(t, 0, strings.Fields(args)...)
			for _, tool := range []string{
				"xfs_admin -U generate -L renamed", "xfs_repair -L", "xfs_repair", "xfs_admin -U restore", "xfs_repair -L",
			} {
				words := append(strings.Fields(tool), path)
				_ = exec.Command(words[0], words[1:]...).Run() // restore needs version 5
				m := xfsReadFile(t, path)
				xfsCheckClean(t, path, m)
				xfsCheckFree(t, path, m)
				xfsCheckIdentity(t, path, m)
			}
		})
	}
}

// TestXFSUnmapped shows whole maps of file systems with parts elsewhere.
func TestXFSUnmapped(t *testing.T) {
	lab.Tools(t, "mkfs.xfs")
	for args, want := range map[string]string{
		"-l logdev=%s,size=64m": "its log is on another device",
		"-r rtdev=%s":           "it has a realtime device",
		"-m crc=0 -n version=ci -l logdev=%s,size=80m": "its log is on another device",
	} {
		other := lab.File(t, 100<<20)
		m := xfsReadFile(t, xfsMkfs(t, 0, strings.Fields(fmt.Sprintf(args, other))...))
		if !m.Whole || m.Type != "xfs" || len(m.Notes) != 1 || !strings.HasSuffix(m.Notes[0], want) {
			t.Errorf("%s: got %+v, want %q", args, m, want)
		}
	}
}
