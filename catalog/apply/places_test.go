package apply

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/catalog/root"
	"slipcast/internal/lab"
)

// simple makes a bundle that lays files; yaml is more of its bundle.yaml.
func simple(t *testing.T, name, yaml string, files map[string]string) string {
	t.Helper()
	below := map[string]string{}
	for file, text := range files {
		below["files/"+file] = text
	}
	return build(t, "schema: 1\nname: "+name+"\nversion: 1.0.0\nscheme: semver\n"+yaml+"payload:\n  - overlay: {from: files, to: /}\n", below)
}

// tryApply applies a bundle file to the root at dir.
func tryApply(t *testing.T, dir, file string) error {
	t.Helper()
	b, err := openBundle(file)
	if err != nil {
		t.Fatal(err)
	}
	return applyTo(t, dir, b, Options{})
}

// mountAt makes a file system in a file and mounts it inside of a root.
func mountAt(t *testing.T, at string, mkfs ...string) {
	t.Helper()
	lab.Tools(t, mkfs[0])
	file := lab.File(t, 64<<20)
	lab.Run(t, mkfs[0], append(mkfs[1:], file)...)
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "mount", lab.Loop(t, file, 512), at)
	t.Cleanup(func() { lab.Run(t, "umount", at) })
}

// One transaction changes three file systems, and is undone on all of them.
func TestRootSeveralFilesystems(t *testing.T) {
	for efi, mkfs := range map[string][]string{"ext2": {"mkfs.ext2", "-q", "-F"}, "vfat": {"mkfs.vfat"}} {
		t.Run(efi, func(t *testing.T) {
			if known, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(known), "\t"+efi+"\n") && exec.Command("modprobe", efi).Run() != nil {
				lab.Lacks(t, efi)
			}
			f := newFilesystem(t, "ext4", 0)
			populate(t, f.dir)
			mountAt(t, filepath.Join(f.dir, "boot"), "mkfs.ext4", "-q", "-F")
			mountAt(t, filepath.Join(f.dir, "boot/efi"), mkfs...)
			for name, text := range map[string]string{"boot/vmlinuz": "old kernel", "boot/old": "goes", "boot/efi/EFI/loader": "old loader", "boot/efi/EFI/old": "goes"} {
				plant(t, filepath.Join(f.dir, name), text, 0o755)
			}
			before := digestOf(t, f.dir)
			file := build(t, `schema: 1
name: corpus
version: 1.0.0
scheme: semver
payload:
  - overlay: {from: files, to: /, delete: [/boot/old, /boot/efi/EFI/old]}
  - line: {path: /boot/efi/EFI/loader.conf, line: timeout 3, create: true}
`, map[string]string{"files/usr/bin/tool": "new tool", "files/boot/vmlinuz": "new kernel", "files/boot/efi/EFI/loader": "new loader", "files/boot/efi/EFI/more/x": "x"})
			if err := tryApply(t, f.dir, file); err != nil {
				t.Fatal(err)
			}
			for name, want := range map[string]string{
				"usr/bin/tool": "new tool", "boot/vmlinuz": "new kernel", "boot/efi/EFI/loader": "new loader", "boot/efi/EFI/more/x": "x",
				"boot/efi/EFI/loader.conf": "timeout 3\n", "boot/old": "", "boot/efi/EFI/old": "",
			} {
				if got, _ := os.ReadFile(filepath.Join(f.dir, name)); string(got) != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			undoAt(t, f.dir)
			if after := digestOf(t, f.dir); after != before {
				t.Errorf("tree digest after undo %s, want %s", after, before)
			}
			for _, top := range []string{"boot", "boot/efi"} {
				if _, err := os.Lstat(filepath.Join(f.dir, top, ".slipcast")); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s/.slipcast: %v, want it to be gone", top, err)
				}
			}
		})
	}
}

// Undo gives directories their times where these are coarser than what a bundle
// is applied with.
func TestRootCoarseTimes(t *testing.T) {
	f := newFilesystem(t, "ext4", 0)
	dir := filepath.Join(f.dir, "root")
	mountAt(t, dir, "mkfs.ext4", "-q", "-F", "-I", "128")
	populate(t, dir)
	before, times := digestOf(t, dir), folderTimes(t, dir)
	file := build(t, corpusYAML, corpusFiles())
	for _, job := range []string{"apply", "undo"} {
		if err := work(job, dir, file, through); err != nil {
			t.Fatal(err)
		}
	}
	if after := digestOf(t, dir); after != before {
		t.Errorf("tree digest %s, want %s", after, before)
	}
	if after := folderTimes(t, dir); !maps.Equal(after, times) {
		t.Errorf("times of directories: %v", difference(times, after))
	}
}

func TestTimeIs(t *testing.T) {
	asked := Time{1000000001, 123456789}
	for _, got := range []Time{asked, {1000000001, 123456700}, {1000000001, 120000000}, {1000000001, 0}, {1000000000, 0}} {
		if !got.is(asked) {
			t.Errorf("%v is not what keeps %v", got, asked)
		}
	}
	for _, got := range []Time{{1000000001, 123456788}, {1000000000, 123456789}, {1000000002, 0}, {}} {
		if got.is(asked) {
			t.Errorf("%v is what keeps %v", got, asked)
		}
	}
}

func TestRootReadOnlyIsRefused(t *testing.T) {
	f := newFilesystem(t, "ext4", 0)
	populate(t, f.dir)
	boot := filepath.Join(f.dir, "boot")
	mountAt(t, boot, "mkfs.ext4", "-q", "-F")
	before := digestOf(t, f.dir)
	file := simple(t, "corpus", "", map[string]string{"boot/vmlinuz": "new", "etc/x": "x"})
	for _, top := range []string{boot, f.dir} {
		lab.Run(t, "mount", "-o", "remount,ro", top)
		err := tryApply(t, f.dir, file)
		var where *Error
		if want := strings.TrimSuffix("/"+strings.TrimPrefix(top, f.dir+"/"), f.dir); !errors.Is(err, ErrReadOnly) || !errors.As(err, &where) || where.Path != want && top == boot {
			t.Errorf("%s read-only: %v, want ErrReadOnly of %s", top, err, want)
		}
	}
	lab.Run(t, "mount", "-o", "remount,rw", f.dir)
	if after := digestOf(t, f.dir); after != before {
		t.Error("the root was changed")
	}
	lab.Run(t, "mount", "-o", "remount,rw", boot)
	if err := tryApply(t, f.dir, file); err != nil {
		t.Errorf("writable again: %v", err)
	}
	applied := digestOf(t, f.dir)
	lab.Run(t, "mount", "-o", "remount,ro", boot)
	undoRefused(t, f.dir, "corpus", ErrReadOnly)
	if after := digestOf(t, f.dir); after != applied {
		t.Error("the root was changed")
	}
	lab.Run(t, "mount", "-o", "remount,rw", boot)
	undoAt(t, f.dir)
	if after := digestOf(t, f.dir); after != before {
		t.Error("undone: the root is not as it was")
	}
}

// A root is locked for other processes until the one that has the lock ends,
// however it does.
func TestRootLock(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	populate(t, dir)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killAt+"=0 hold "+dir+" none")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process says %q, %v", line, err)
	}
	file := simple(t, "corpus", "", map[string]string{"etc/x": "x"})
	if err := tryApply(t, dir, file); !errors.Is(err, ErrLocked) {
		t.Errorf("apply: %v, want ErrLocked", err)
	}
	undoRefused(t, dir, "corpus", ErrLocked)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if err := tryApply(t, dir, file); err != nil {
		t.Errorf("after its end: %v", err)
	}
}

// What one product has laid, another may edit, and neither lay nor take away.
func TestRootPathOfAnotherProduct(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	populate(t, dir)
	if err := tryApply(t, dir, simple(t, "first", "", map[string]string{"etc/mine": "first\n", "opt/first/x": "x"})); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		yaml  string
		files map[string]string
		owned bool
	}{
		"lays it":         {"", map[string]string{"etc/mine": "second"}, true},
		"deletes it":      {"", nil, true},
		"lays beside it":  {"", map[string]string{"opt/first/y": "y"}, false},
		"takes its place": {"supersedes: [{product: first}]\n", map[string]string{"etc/mine": "third"}, false},
		"edits it":        {"", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := ""
			switch name {
			case "deletes it":
				file = build(t, "schema: 1\nname: second\nversion: 1.0.0\nscheme: semver\npayload:\n  - overlay: {from: files, to: /, delete: [/etc/mine]}\n", map[string]string{"files/etc/other": "x"})
			case "edits it":
				file = build(t, "schema: 1\nname: second\nversion: 1.0.0\nscheme: semver\npayload:\n  - line: {path: /etc/mine, line: more}\n", nil)
			default:
				file = simple(t, "second", tt.yaml, tt.files)
			}
			before := digestOf(t, dir)
			err := tryApply(t, dir, file)
			if tt.owned != errors.Is(err, ErrConflict) || tt.owned && !strings.Contains(err.Error(), "etc/mine: conflict: it belongs to first@1.0.0-1") {
				t.Errorf("got %v, want a conflict with first: %v", err, tt.owned)
			}
			if err == nil {
				undoProducts(t, dir, "second")
			}
			if after := digestOf(t, dir); after != before {
				t.Error("the root is not as before")
			}
		})
	}
}

// A directory in which nothing can be changed is found out when it is too late:
// all goes back.
func TestRootImmutableDirectory(t *testing.T) {
	lab.Tools(t, "chattr")
	for _, where := range []string{"home", "opt/old"} { // the first and the last of what changes
		f := newFilesystem(t, "ext4", 0)
		populate(t, f.dir)
		locked := filepath.Join(f.dir, where)
		before, times := digestOf(t, f.dir), folderTimes(t, f.dir)
		lab.Run(t, "chattr", "+i", locked)
		t.Cleanup(func() { lab.Run(t, "chattr", "-i", locked) })
		file := simple(t, "corpus", "", map[string]string{"etc/x": "x", "home/x": "x", "opt/old/x": "new x", "opt/old/new": "x", "usr/bin/tool": "new"})
		err := tryApply(t, f.dir, file)
		if err == nil || !strings.Contains(err.Error(), where) || strings.Contains(err.Error(), "half changed") {
			t.Errorf("%s: %v, want an error that names it, and the old tree", where, err)
		}
		sameRoot(t, f.dir, before, times)
		lab.Run(t, "chattr", "-i", locked)
		if err := tryApply(t, f.dir, file); err != nil {
			t.Errorf("%s: without the flag: %v", where, err)
		}
		undoAt(t, f.dir)
		sameRoot(t, f.dir, before, times)
	}
}

// Between subvolumes that are not mounted by themselves files can be neither
// linked nor renamed.
func TestRootSubvolume(t *testing.T) {
	lab.Tools(t, "btrfs")
	f := newFilesystem(t, "btrfs", 0)
	populate(t, f.dir)
	lab.Run(t, "btrfs", "subvolume", "create", filepath.Join(f.dir, "opt/sub"))
	plant(t, filepath.Join(f.dir, "opt/sub/there"), "old", 0o644)
	before, times := digestOf(t, f.dir), folderTimes(t, f.dir)
	for _, name := range []string{"opt/sub/there", "opt/sub/new", "opt/sub/new/tree/x"} {
		err := tryApply(t, f.dir, simple(t, "corpus", "", map[string]string{"etc/x": "x", name: "new"}))
		if !errors.Is(err, ErrSubvolume) || !strings.Contains(err.Error(), "opt/sub") {
			t.Errorf("%s: %v, want ErrSubvolume that names it", name, err)
		}
	}
	sameRoot(t, f.dir, before, times)
}

// Undo asks for that before it writes anything: a directory may have become a
// subvolume since.
func TestRootSubvolumeSince(t *testing.T) {
	lab.Tools(t, "btrfs")
	f := newFilesystem(t, "btrfs", 0)
	populate(t, f.dir)
	if err := tryApply(t, f.dir, simple(t, "corpus", "", map[string]string{"etc/app.d/one": "new"})); err != nil {
		t.Fatal(err)
	}
	dir, sub := filepath.Join(f.dir, "etc/app.d"), filepath.Join(f.dir, "etc/sub")
	lab.Run(t, "btrfs", "subvolume", "create", sub)
	lab.Run(t, "cp", "-a", filepath.Join(dir, "one"), sub)
	lab.Run(t, "rm", "-r", dir)
	lab.Run(t, "mv", sub, dir)
	before, times := digestOf(t, f.dir), folderTimes(t, f.dir)
	undoRefused(t, f.dir, "corpus", ErrSubvolume)
	sameRoot(t, f.dir, before, times)
}

// Receipts say what can be undone.
func TestRootReceiptsTellOfUndo(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	populate(t, dir)
	if err := tryApply(t, dir, simple(t, "corpus", "", map[string]string{"etc/x": "x"})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		r, err := root.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if list, err := Receipts(r); err != nil || len(list) != 1 || list[0].Undo != want {
			t.Errorf("receipts %+v, %v, want one with Undo %v", list, err, want)
		}
		r.Close()
		if err := os.RemoveAll(filepath.Join(dir, "var/lib/slipcast/tx", fmt.Sprintf("%08d", 1))); err != nil {
			t.Fatal(err)
		}
	}
	undoRefused(t, dir, "corpus", ErrNoUndo)
}
