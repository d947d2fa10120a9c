package bake

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"slipcast/catalog/root"
	"slipcast/image"
	"slipcast/internal/lab"
	"slipcast/partition"
)

const mib = 1 << 20

// A part is a partition of a test's disk.
type part struct {
	start, size int64 // bytes
	mkfs        []string
	dir         string // in the tree of the root; it is the volume's top
}

// debianParts are an EFI system partition, /boot and the root of a Debian.
func debianParts() []part {
	return []part{
		{1 * mib, 64 * mib, []string{"mkfs.fat", "-F", "32", "-s", "1"}, ""},
		{65 * mib, 64 * mib, []string{"mke2fs", "-q", "-F", "-t", "ext4", "-L", "boot"}, "boot"},
		{129 * mib, 900 * mib, []string{"mke2fs", "-q", "-F", "-t", "ext4", "-L", "root"}, "."},
	}
}

// debianDisk makes a disk with a GPT and a Debian on three volumes, and tells whether the first,
// for which this kernel may have no driver, is mounted.
func debianDisk(t *testing.T) (disk string, esp bool) {
	t.Helper()
	lab.Tools(t, "sfdisk", "mke2fs", "mkfs.fat", "e2fsck", "dpkg-deb")
	tree := filepath.Join(t.TempDir(), "tree")
	lab.Run(t, "cp", "-a", lab.Debian(t), tree)
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	esp = strings.Contains(string(known), "vfat")
	fstab := "LABEL=root / ext4 defaults 0 1\nLABEL=boot /boot ext4 defaults 0 2\n"
	if esp {
		fstab += "PARTLABEL=esp /boot/efi vfat umask=0077 0 1\n"
	}
	for path, text := range map[string]string{"etc/fstab": fstab, "boot/vmlinuz": "a kernel", "boot/efi/loader": "", "sbin/init": "x"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(tree, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, path), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	boot := filepath.Join(t.TempDir(), "boot")
	lab.Run(t, "mv", filepath.Join(tree, "boot"), boot)
	lab.Run(t, "mkdir", filepath.Join(tree, "boot"))
	disk = lab.File(t, 1030*mib)
	lab.Run(t, "sh", "-c", `printf 'label: gpt\nstart=1MiB, size=64MiB, type=U, name=esp\nsize=64MiB, type=L\nsize=900MiB, type=L\n' | sfdisk -q "$0"`, disk)
	for _, p := range debianParts() {
		file := lab.File(t, p.size)
		args := p.mkfs[1:]
		switch p.dir {
		case "boot":
			args = append(args, "-d", boot)
		case ".":
			args = append(args, "-d", tree)
		}
		lab.Run(t, p.mkfs[0], append(args, file)...)
		lab.Run(t, "dd", "if="+file, "of="+disk, "bs=1M", fmt.Sprintf("seek=%d", p.start/mib), "conv=notrunc,sparse", "status=none")
	}
	return disk, esp
}

// helloBundle is a bundle with a package that has a maintainer script, programs before and after, and
// a file on each volume.
func helloBundle(t *testing.T, esp bool) *os.File {
	t.Helper()
	pkg := t.TempDir()
	for name, text := range map[string]string{
		"DEBIAN/control":  "Package: hello-lab\nVersion: 2.1-3\nArchitecture: all\nMaintainer: Lab <lab@example.org>\nDescription: says hello\n",
		"DEBIAN/postinst": "#!/bin/sh\nset -e\necho configured >/etc/hello-lab.state\n",
		"usr/bin/hello":   "#!/bin/sh\necho hello\n",
	} {
		path := filepath.Join(pkg, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	deb := filepath.Join(t.TempDir(), "hello-lab.deb")
	lab.Run(t, "dpkg-deb", "--root-owner-group", "--build", pkg, deb)
	text, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"hello-lab.deb": string(text), "files/boot/lab.cfg": "timeout=0\n",
		"scripts/before": "#!/bin/sh\n[ ! -e /usr/bin/hello ] && echo before >/etc/before\n",
		"scripts/after":  "#!/bin/sh\nset -e\nhello >/etc/after\ndpkg-query -W -f '${Version}' hello-lab >>/etc/after\n",
	}
	if esp {
		files["files/boot/efi/lab.cfg"] = "esp\n"
	}
	return buildBundle(t, `schema: 1
name: hello
version: "2.1-3"
scheme: deb
release: 1
family: linux
detect: {version: pkg("hello-lab")}
payload:
  - deb: hello-lab.deb
  - overlay: {from: files, to: /}
run:
  - {phase: pre, exec: [scripts/before]}
  - {phase: post, exec: [scripts/after]}
`, files)
}

// A disk with several volumes is baked as a whole: packages and programs of a Debian run on the copy,
// each file comes onto its own volume, and what they do not touch is the parent's.
func TestRootBakeDisk(t *testing.T) {
	lab.Root(t)
	disk, esp := debianDisk(t)
	parent := capture(t, disk)
	var out bytes.Buffer
	b, err := Bake(t.Context(), &out, parent, []Step{{File: helloBundle(t, esp)}}, Options{Copy: CopyOptions{Scratch: t.TempDir()}, Level: image.LevelFast})
	if err != nil {
		t.Fatal(err)
	}
	fresh := b.Stats.Chunks - b.Stats.Reused - b.Stats.Zero
	t.Logf("%d of %d chunks are new, %d bytes written", fresh, b.Stats.Chunks, b.Written)
	if fresh < 2 || fresh > b.Stats.Chunks/4 {
		t.Errorf("%d of %d chunks are new", fresh, b.Stats.Chunks)
	}
	child := open(t, out.Bytes())
	if child.Table.Kind != partition.GPT || child.Table.ID != parent.Table.ID || len(child.Table.Partitions) != 3 {
		t.Errorf("the table is %v %s with %d partitions", child.Table.Kind, child.Table.ID, len(child.Table.Partitions))
	}
	checkDisk(t, unpack(t, child), esp)
	if left := leftOver(t); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// checkDisk looks at the volumes of a baked disk.
func checkDisk(t *testing.T, disk string, esp bool) {
	t.Helper()
	want := map[string]map[string]string{
		"":     {"lab.cfg": "esp\n"},
		"boot": {"lab.cfg": "timeout=0\n", "vmlinuz": "a kernel"},
		".":    {"etc/before": "before\n", "etc/after": "hello\n2.1-3", "etc/hello-lab.state": "configured\n", "usr/bin/hello": "#!/bin/sh\necho hello\n"},
	}
	for i, p := range debianParts() {
		if p.dir == "" && !esp {
			continue
		}
		file := lab.File(t, p.size)
		lab.Run(t, "dd", "if="+disk, "of="+file, "bs=1M", fmt.Sprintf("skip=%d", p.start/mib), fmt.Sprintf("count=%d", p.size/mib), "conv=notrunc,sparse", "status=none")
		if p.dir != "" {
			lab.Run(t, "e2fsck", "-fn", file)
		}
		dir := lab.Mount(t, file, "-o", "loop,ro")
		for name, text := range want[p.dir] {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != text {
				t.Errorf("volume %d: %s: got %q, %v, want %q", i+1, name, got, err, text)
			}
		}
		lab.Unmount(t, dir)
	}
}

// numberedDisk makes a disk with a GPT, whose partitions 2, 3 and 5 are /boot, /home and the root of a small Linux. Its
// fstab calls them by the names that begin with prefix.
func numberedDisk(t *testing.T, prefix string) string {
	t.Helper()
	lab.Tools(t, "sfdisk", "mke2fs")
	tree := t.TempDir()
	lab.Plant(t, tree, map[string]string{
		"etc/fstab":      fmt.Sprintf("%[1]s5 / ext4 defaults 0 1\n%[1]s2 /boot ext4 defaults 0 2\n%[1]s3 /home ext4 defaults 0 2\n", prefix),
		"etc/os-release": "ID=debian\n", "sbin/init": "x", "boot/under": "not seen", "home/under": "not seen",
	})
	disk := lab.File(t, 100*mib)
	lab.Run(t, "sh", "-c", `printf 'label: gpt\n2: start=1MiB, size=16MiB\n3: size=16MiB\n5: size=64MiB\n' | sfdisk -q "$0"`, disk)
	for i, start := range numberedStarts() {
		file := lab.File(t, 16*mib)
		args := []string{"-q", "-F", "-t", "ext4"}
		if i == 2 {
			args = append(args, "-d", tree)
		}
		lab.Run(t, "mke2fs", append(args, file)...)
		lab.Run(t, "dd", "if="+file, "of="+disk, "bs=1M", fmt.Sprintf("seek=%d", start), "conv=notrunc,sparse", "status=none")
	}
	return disk
}

// numberedStarts are where the partitions of a numberedDisk begin, in MiB.
func numberedStarts() []int { return []int{1, 17, 33} }

// What etc/fstab calls by the number of its partition is mounted, as it is from a disk: a bundle can write below it, and
// what it writes lies on that volume and not in the folder under it.
func TestRootBakeNumbers(t *testing.T) {
	lab.Root(t)
	for _, prefix := range []string{"/dev/sda", "/dev/vda", "/dev/nvme0n1p", "/dev/mmcblk0p"} {
		t.Run(filepath.Base(prefix), func(t *testing.T) {
			parent := capture(t, numberedDisk(t, prefix))
			file := buildBundle(t, recipeText+"payload:\n  - overlay: {from: files, to: /}\n", map[string]string{
				"files/boot/lab.cfg": "boot", "files/home/lab.cfg": "home", "files/etc/lab.cfg": "root",
			})
			var out bytes.Buffer
			if _, err := Bake(t.Context(), &out, parent, []Step{{File: file}}, Options{Copy: CopyOptions{Scratch: t.TempDir()}}); err != nil {
				t.Fatal(err)
			}
			disk := unpack(t, open(t, out.Bytes()))
			for i, want := range []map[string]string{{"lab.cfg": "boot"}, {"lab.cfg": "home"}, {"etc/lab.cfg": "root", "boot": "[under]", "home": "[under]"}} {
				dir := lab.Mount(t, disk, "-o", fmt.Sprintf("loop,ro,noload,offset=%d,sizelimit=%d", numberedStarts()[i]*mib, 16*mib))
				for name, text := range want {
					if got := shown(t, filepath.Join(dir, name)); got != text {
						t.Errorf("volume %d: %s: got %q, want %q", i+1, name, got, text)
					}
				}
				lab.Unmount(t, dir)
			}
		})
	}
}

// shown returns what a file has in it, or the names that a folder has in brackets.
func shown(t *testing.T, path string) string {
	t.Helper()
	if list, err := os.ReadDir(path); err == nil {
		var names []string
		for _, e := range list {
			names = append(names, e.Name())
		}
		return fmt.Sprint(names)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// digestJob returns the tree digest of the root.
func digestJob(ctx context.Context, r *root.Root, _ *Work) (any, error) {
	return r.TreeDigest(ctx, root.TreeOptions{})
}

// treeDigest returns the tree digest of the system in an image.
func treeDigest(t *testing.T, im *image.Image) (digest string) {
	t.Helper()
	c, err := NewCopy(im, CopyOptions{Scratch: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Run(t.Context(), Task{Job: "digest", ReadOnly: true}, &digest); err != nil {
		t.Fatal(err)
	}
	return digest
}

// Two bakes by one recipe give the same tree, times included: section 10.4.
func TestRootBakeTwice(t *testing.T) {
	lab.Root(t)
	k := kinds()[0]
	lab.Tools(t, k.mkfs[0])
	parent := capture(t, makeRoot(t, k, 4*mib))
	file := greeting(t)
	var digests, recipes []string
	for range 2 {
		var out bytes.Buffer
		b, err := Bake(t.Context(), &out, parent, []Step{{File: file}}, Options{Copy: CopyOptions{Scratch: t.TempDir()}, Time: time.Unix(1_700_000_000, 0)})
		if err != nil {
			t.Fatal(err)
		}
		digests, recipes = append(digests, treeDigest(t, open(t, out.Bytes()))), append(recipes, b.Digest)
	}
	if digests[0] != digests[1] || recipes[0] != recipes[1] {
		t.Errorf("trees %q, recipes %q: want both twice the same", digests, recipes)
	}
	if before := treeDigest(t, parent); before == digests[0] {
		t.Errorf("the tree of the parent is the same, too: %s", before)
	}
}
