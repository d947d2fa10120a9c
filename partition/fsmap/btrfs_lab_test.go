package fsmap

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// btrfsFile maps the file at path.
func btrfsFile(t testing.TB, path string) *Map {
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

// wantBtrfs fails the test unless m is the map of a btrfs at path, with what
// blkid says of it, and neither whole nor nearly so.
func wantBtrfs(t testing.TB, m *Map, path string) {
	t.Helper()
	if m.Whole {
		t.Fatalf("captured whole: %v", m.Notes)
	}
	uuid := strings.TrimSpace(lab.Run(t, "blkid", "-p", "-o", "value", "-s", "UUID", path))
	if m.Type != "btrfs" || m.UUID != uuid {
		t.Errorf("got a %s with UUID %s, want a btrfs with %s", m.Type, m.UUID, uuid)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if used := m.Used.Size(); used > info.Size()*9/10 {
		t.Errorf("%d of %d bytes in use", used, info.Size())
	}
}

// btrfsGarbage fills what m leaves out of the file at path and shows that
// the file system check finds nothing, the checksums of all data included.
func btrfsGarbage(t testing.TB, m *Map, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	lab.Garbage(t, path, info.Size(), m.Used)
	lab.Run(t, "btrfs", "check", "--readonly", "--check-data-csum", path)
}

// btrfsScrub reads every copy of every block of a mounted btrfs.
func btrfsScrub(t testing.TB, dir string) {
	t.Helper()
	if out := lab.Run(t, "btrfs", "scrub", "start", "-B", "-r", dir); !strings.Contains(out, "no errors found") {
		t.Errorf("scrub: %s", out)
	}
}

func TestRootBtrfsGarbage(t *testing.T) {
	lab.Root(t)
	t.Parallel()
	lab.Tools(t, "mkfs.btrfs", "btrfs", "blkid", "mount")
	tests := []struct {
		name  string
		mib   int64
		extra int64  // bytes beyond the mebibytes
		mkfs  string // flags
		mount string // options
		more  func(t testing.TB, dir string)
	}{
		{name: "default", mib: 256},
		{name: "single", mib: 160, mkfs: "-m single -d single"},
		{name: "dup data", mib: 256, mkfs: "-m dup -d dup"},
		{name: "zstd", mib: 256, mount: "compress=zstd"},
		{name: "lzo forced", mib: 256, mount: "compress-force=lzo"},
		{name: "mixed", mib: 100, mkfs: "--mixed"},
		{name: "mixed small nodes", mib: 64, mkfs: "--mixed -n 4096 -m single -d single"},
		{name: "xxhash small nodes", mib: 256, mkfs: "-n 4096 --csum xxhash"},
		{name: "sha256 large nodes", mib: 256, mkfs: "-n 65536 --csum sha256"},
		{name: "blake2", mib: 256, mkfs: "--csum blake2"},
		{name: "no skinny metadata", mib: 256, mkfs: "-O ^skinny-metadata"},
		{name: "explicit holes", mib: 256, mkfs: "-O ^no-holes"},
		{name: "no free space tree", mib: 256, mkfs: "-R ^free-space-tree", mount: "space_cache=v1"},
		{name: "no extref", mib: 256, mkfs: "-O ^extref,^no-holes -R ^free-space-tree"},
		{name: "quota", mib: 256, mkfs: "-R quota", more: btrfsSnapshots},
		{name: "nodatacow", mib: 256, mount: "nodatacow"},
		{name: "autodefrag and discard", mib: 256, mount: "autodefrag,discard=async,ssd_spread"},
		{name: "odd size", mib: 201, extra: 12345},
		{name: "snapshots and reflinks", mib: 400, more: btrfsSnapshots},
		{name: "swap file", mib: 256, more: btrfsSwapFile},
		{name: "balanced", mib: 256, more: btrfsBalance},
		{name: "shrunk", mib: 500, more: func(t testing.TB, dir string) {
			lab.Run(t, "btrfs", "filesystem", "resize", "300m", dir)
		}},
		{name: "converted to single", mib: 400, more: func(t testing.TB, dir string) {
			lab.Run(t, "btrfs", "balance", "start", "--full-balance", "-f", "-mconvert=single", dir)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := lab.File(t, tt.mib<<20+tt.extra)
			lab.Run(t, "mkfs.btrfs", append(strings.Fields(tt.mkfs), "-q", "-L", "lab disk", path)...)
			opt := "loop"
			if tt.mount != "" {
				opt += "," + tt.mount
			}
			dir := lab.Mount(t, path, "-o", opt)
			lab.Fill(t, dir, tt.mib<<20/6, uint64(tt.mib))
			if tt.more != nil {
				tt.more(t, dir)
			}
			want := lab.Tree(t, dir)
			lab.Run(t, "btrfs", "filesystem", "sync", dir) // unmounting does not, if another mount namespace has it
			lab.Unmount(t, dir)

			m := btrfsFile(t, path)
			wantBtrfs(t, m, path)
			if m.Label != "lab disk" || m.Dirty || len(m.Notes) > 0 {
				t.Errorf("got label %q, dirty %v, notes %v", m.Label, m.Dirty, m.Notes)
			}
			btrfsGarbage(t, m, path)
			dir = lab.Mount(t, path, "-o", "loop")
			lab.SameTree(t, lab.Tree(t, dir), want)
			btrfsScrub(t, dir)
			lab.Unmount(t, dir)
		})
	}
}

// btrfsSnapshots makes subvolumes, snapshots and reflinks, changes what they share
// and removes some of them again.
func btrfsSnapshots(t testing.TB, dir string) {
	t.Helper()
	sub := filepath.Join(dir, "sub")
	lab.Run(t, "btrfs", "subvolume", "create", sub)
	lab.Fill(t, sub, 8<<20, 3)
	lab.Run(t, "btrfs", "subvolume", "snapshot", sub, filepath.Join(dir, "kept"))
	lab.Run(t, "btrfs", "subvolume", "snapshot", "-r", sub, filepath.Join(dir, "gone"))
	lab.Fill(t, sub, 8<<20, 4) // over the first files
	lab.Run(t, "cp", "-r", "--reflink=always", filepath.Join(dir, "d0"), filepath.Join(dir, "cloned"))
	lab.Fill(t, filepath.Join(dir, "cloned"), 1<<20, 5)
	lab.Run(t, "btrfs", "subvolume", "delete", "--commit-each", filepath.Join(dir, "gone"))
	lab.Run(t, "btrfs", "subvolume", "set-default", sub)
	lab.Run(t, "btrfs", "subvolume", "set-default", "5", dir)
}

// btrfsSwapFile makes a swap file in use: a NOCOW file whose extents never move.
func btrfsSwapFile(t testing.TB, dir string) {
	t.Helper()
	name := filepath.Join(dir, "swapfile")
	lab.Run(t, "touch", name)
	lab.Run(t, "chattr", "+C", name)
	lab.Run(t, "fallocate", "-l", "16M", name)
	lab.Run(t, "mkswap", name)
}

// btrfsBalance moves all chunks, so that the logical addresses start far from zero.
func btrfsBalance(t testing.TB, dir string) {
	t.Helper()
	lab.Run(t, "btrfs", "balance", "start", "--full-balance", dir)
	lab.Run(t, "btrfs", "balance", "start", "--full-balance", dir)
}

// Files that mkfs puts in place, checked by btrfs-progs alone: no mount, and
// so also with sectors that the kernel here does not have.
func TestBtrfsRootdir(t *testing.T) {
	lab.Tools(t, "mkfs.btrfs", "btrfs", "blkid")
	for _, flags := range []string{"", "-s 8192", "-s 16384 -n 16384", "-s 65536 -n 65536 --csum xxhash"} {
		t.Run(flags, func(t *testing.T) {
			src, path, out := t.TempDir(), lab.File(t, 256<<20), t.TempDir()
			lab.Fill(t, src, 12<<20, 9)
			lab.Run(t, "mkfs.btrfs", append(strings.Fields(flags), "-q", "--rootdir", src, path)...)
			m := btrfsFile(t, path)
			wantBtrfs(t, m, path)
			btrfsGarbage(t, m, path)
			if strings.Contains(flags, "-s") {
				return // btrfs restore knows no other sectors than those of 4 KiB
			}
			lab.Run(t, "btrfs", "restore", path, out)
			lab.SameTree(t, lab.Tree(t, out), lab.Tree(t, src))
		})
	}
}

// A changed file system UUID stands in the superblock alone, and a seed device
// must not be written to by a machine that believes it is the only one.
func TestBtrfsTuned(t *testing.T) {
	lab.Tools(t, "mkfs.btrfs", "btrfs", "btrfstune", "blkid")
	path := lab.File(t, 128<<20)
	lab.Run(t, "mkfs.btrfs", "-q", path)
	lab.Run(t, "btrfstune", "-f", "-m", path)
	m := btrfsFile(t, path)
	wantBtrfs(t, m, path)
	btrfsGarbage(t, m, path)

	path = lab.File(t, 128<<20)
	lab.Run(t, "mkfs.btrfs", "-q", path)
	lab.Run(t, "btrfstune", "-f", "-S", "1", path)
	if m := btrfsFile(t, path); !m.Whole || m.Type != "btrfs" {
		t.Errorf("a seed device: whole %v, type %q, notes %v", m.Whole, m.Type, m.Notes)
	}
}

// File systems that have, or need not have, all of their data here are whole.
func TestBtrfsNotAlone(t *testing.T) {
	lab.Tools(t, "mkfs.btrfs")
	tests := []struct {
		flags, want string
		devices     int
	}{
		{"-m raid1 -d raid1", "captured whole: one of 2 devices of a file system", 2},
		{"-m raid0 -d raid0", "captured whole: one of 2 devices of a file system", 2},
		{"-m raid1c3 -d single", "captured whole: one of 3 devices of a file system", 3},
		{"-m raid0 -d raid0", "captured whole: chunk tree: a chunk with profile 0x8, which is not mapped", 1},
	}
	for _, tt := range tests {
		t.Run(tt.flags, func(t *testing.T) {
			args := append(strings.Fields(tt.flags), "-q")
			for range tt.devices {
				args = append(args, lab.File(t, 128<<20))
			}
			path := args[len(args)-1]
			lab.Run(t, "mkfs.btrfs", args...)
			m := btrfsFile(t, path)
			if !m.Whole || m.Type != "btrfs" || len(m.Notes) != 1 || m.Notes[0] != tt.want {
				t.Errorf("whole %v, type %q, notes %q, want %q", m.Whole, m.Type, m.Notes, tt.want)
			}
		})
	}
}

// Partclone counts one copy of each block, and neither the first MiB nor the
// superblock's copies. The blocks are those of metadata, so nodes of 4 KiB
// make them as fine as ours.
func TestRootBtrfsPartclone(t *testing.T) {
	lab.Root(t)
	t.Parallel()
	lab.Tools(t, "mkfs.btrfs", "partclone.btrfs", "partclone.info")
	for _, flags := range []string{"-m single -n 4096", "-m dup -n 4096", "--mixed -m single -d single"} {
		t.Run(flags, func(t *testing.T) {
			path := lab.File(t, 256<<20)
			lab.Run(t, "mkfs.btrfs", append(strings.Fields(flags), "-q", path)...)
			dir := lab.Mount(t, path, "-o", "loop")
			lab.Fill(t, dir, 32<<20, 5)
			lab.Unmount(t, dir)
			m := btrfsFile(t, path)
			wantBtrfs(t, m, path)

			theirs, size := btrfsPartclone(t, path)
			extra := (1<<20)/size + 1 // the copy of the superblock at 64 MiB
			if strings.Contains(flags, "dup") {
				extra += btrfsNumber(t, lab.Run(t, "btrfs", "check", "--readonly", path), `total tree bytes: (\d+)`) / size
			}
			ours := m.Used.Size() / size
			if ours < theirs || ours > theirs+extra {
				t.Errorf("got %d blocks of %d bytes, want %d to %d", ours, size, theirs, theirs+extra)
			}
		})
	}
}

// btrfsPartclone returns how many blocks partclone would copy, and their size.
func btrfsPartclone(t testing.TB, path string) (blocks, size int64) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	lab.Run(t, "partclone.btrfs", "-c", "-q", "-s", path, "-O", image, "-L", image+".log")
	out, _ := exec.Command("partclone.info", "-L", image+".log", "-s", image).CombinedOutput()
	return btrfsNumber(t, string(out), `Space in use:.*= (\d+) Blocks`), btrfsNumber(t, string(out), `Block size:\s+(\d+)`)
}

// btrfsNumber returns the number in text that the group of pattern matches.
func btrfsNumber(t testing.TB, text, pattern string) int64 {
	t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("no %q in %s", pattern, text)
	}
	n, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
