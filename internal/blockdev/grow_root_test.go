package blockdev

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
)

// mountTable returns the mounts of this process that concern dev.
func mountTable(t *testing.T, dev string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range bytes.Lines(text) {
		if bytes.Contains(line, []byte(" "+dev+" ")) {
			lines.Write(line)
		}
	}
	return lines.String()
}

// resizer skips the test if this process may not enlarge ext4, whose driver
// wants CAP_SYS_RESOURCE.
func resizer(t *testing.T, fsType string) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(fsType, "ext") && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0 {
		lab.Lacks(t, "CAP_SYS_RESOURCE, which growing a mounted ext4 needs")
	}
}

// grown mounts the device and returns its tree and the size of its file
// system in bytes.
func grown(t *testing.T, dev string, options ...string) (map[string]string, int64) {
	t.Helper()
	dir := lab.Mount(t, dev, options...)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	tree := lab.Tree(t, dir)
	delete(tree, "lost+found") // as e2fsck likes it
	lab.Unmount(t, dir)
	return tree, int64(st.Blocks) * st.Bsize
}

func TestRootGrow(t *testing.T) {
	lab.Root(t)
	tests := []struct {
		name, fsType string
		size         int64 // MiB
		mkfs, fsck   []string
	}{
		{"ext4", "ext4", 40, []string{"mkfs.ext4", "-q"}, []string{"e2fsck", "-fn"}},
		{"ext4 of 1 KiB blocks", "ext4", 40, []string{"mkfs.ext4", "-q", "-b", "1024"}, []string{"e2fsck", "-fn"}},
		{"ext3", "ext3", 40, []string{"mkfs.ext3", "-q"}, []string{"e2fsck", "-fn"}},
		{"ext2", "ext2", 40, []string{"mkfs.ext2", "-q"}, []string{"e2fsck", "-fn"}},
		{"xfs", "xfs", 300, []string{"mkfs.xfs", "-q"}, []string{"xfs_repair", "-n"}},
		{"btrfs", "btrfs", 128, []string{"mkfs.btrfs", "-q"}, []string{"btrfs", "check", "--readonly"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			resizer(t, tt.fsType)
			lab.Tools(t, tt.mkfs[0], tt.fsck[0], "losetup")
			file := lab.File(t, tt.size*mib)
			dev := lab.Loop(t, file, 512)
			lab.Run(t, tt.mkfs[0], append(tt.mkfs[1:], dev)...)
			dir := lab.Mount(t, dev)
			lab.Fill(t, dir, 5*mib, 1)
			lab.Unmount(t, dir)
			tree, before := grown(t, dev)
			enlarge(t, file, dev, 2*tt.size*mib)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := GrowFilesystem(ctx, dev, tt.fsType); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: got %v, want %v", err, context.Canceled)
			}
			for range 2 { // the second time there is nothing to do
				if err := GrowFilesystem(t.Context(), dev, tt.fsType); err != nil {
					t.Fatal(err)
				}
				if got := mountTable(t, dev); got != "" {
					t.Errorf("a mount is left: %s", got)
				}
				refusals(t, dev, "", "")
			}
			lab.Run(t, tt.fsck[0], append(tt.fsck[1:], dev)...)
			again, after := grown(t, dev)
			lab.SameTree(t, again, tree)
			if after < before*19/10 {
				t.Errorf("got a file system of %d bytes, it had %d and the device has doubled", after, before)
			}
		})
	}
}

// enlarge makes the file below a loop device larger.
func enlarge(t *testing.T, file, dev string, size int64) {
	t.Helper()
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "losetup", "--set-capacity", dev)
}

// A journal that was not replayed is replayed by the mount.
func TestRootGrowDirty(t *testing.T) {
	lab.Root(t)
	resizer(t, "ext4")
	lab.Tools(t, "mkfs.ext4", "e2fsck", "dumpe2fs", "cp")
	file := lab.File(t, 40*mib)
	dev := lab.Loop(t, file, 512)
	lab.Run(t, "mkfs.ext4", "-q", dev)
	dir := lab.Mount(t, dev)
	lab.Fill(t, dir, 5*mib, 2)
	want := lab.Tree(t, dir)
	lab.Run(t, "sync", "-f", dir)
	copied := lab.File(t, 0)
	lab.Run(t, "cp", "--sparse=always", dev, copied)
	lab.Unmount(t, dir)
	if out := lab.Run(t, "dumpe2fs", "-h", copied); !strings.Contains(out, "needs_recovery") {
		t.Fatal("the copy is not dirty")
	}
	if err := os.Truncate(copied, 80*mib); err != nil {
		t.Fatal(err)
	}
	clone := lab.Loop(t, copied, 512)
	if err := GrowFilesystem(t.Context(), clone, "ext4"); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "e2fsck", "-fn", clone)
	tree, _ := grown(t, clone)
	delete(want, "lost+found")
	lab.SameTree(t, tree, want)
}

// A clone has the identity of its original. Growing it while the original is
// mounted must change the clone, or nothing.
func TestRootGrowClone(t *testing.T) {
	lab.Root(t)
	for _, tt := range []struct {
		fsType string
		size   int64
		option string
	}{{"xfs", 300, "nouuid"}, {"btrfs", 128, "ro"}} {
		t.Run(tt.fsType, func(t *testing.T) {
			lab.Tools(t, "mkfs."+tt.fsType, "cp")
			file := lab.File(t, tt.size*mib)
			dev := lab.Loop(t, file, 512)
			lab.Run(t, "mkfs."+tt.fsType, "-q", dev)
			copied := lab.File(t, 0)
			lab.Run(t, "cp", "--sparse=always", dev, copied)
			if err := os.Truncate(copied, 2*tt.size*mib); err != nil {
				t.Fatal(err)
			}
			enlarge(t, file, dev, 2*tt.size*mib)
			clone := lab.Loop(t, copied, 512)
			dir := lab.Mount(t, dev)
			err := GrowFilesystem(t.Context(), clone, tt.fsType)
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err != nil || int64(st.Blocks)*st.Bsize > tt.size*mib {
				t.Errorf("the original now has %d bytes, %v", int64(st.Blocks)*st.Bsize, err)
			}
			lab.Unmount(t, dir)
			if err != nil {
				t.Logf("not grown: %v", err)
				return
			}
			if _, size := grown(t, clone, "-o", tt.option); size < tt.size*mib*17/10 {
				t.Errorf("the clone has %d bytes", size)
			}
		})
	}
}

func TestRootGrowRefuses(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "mkfs.ext4", "mkfs.btrfs", "debugfs")
	ext := func(t *testing.T) string {
		dev := lab.Loop(t, lab.File(t, 16*mib), 512)
		lab.Run(t, "mkfs.ext4", "-q", dev)
		return dev
	}
	is := func(want error) func(error) bool { return func(err error) bool { return errors.Is(err, want) } }
	refused := func(want Reason) func(error) bool {
		return func(err error) bool {
			var r *RefusedError
			return errors.As(err, &r) && r.Reason == want
		}
	}
	tests := []struct {
		name, fsType string
		dev          func(t *testing.T) string
		want         func(error) bool
	}{
		{"ntfs", "ntfs", ext, is(ErrCannotGrow)},
		{"file", "ext4", func(t *testing.T) string { return lab.File(t, mib) }, refused(WrongKind)},
		{"missing", "ext4", func(*testing.T) string { return "/dev/slipcast-none" }, is(os.ErrNotExist)},
		{"errors in it", "ext4", func(t *testing.T) string {
			dev := ext(t)
			lab.Run(t, "debugfs", "-w", "-R", "set_super_value state 3", dev)
			return dev
		}, is(ErrNeedsCheck)},
		{"not unmounted", "ext4", func(t *testing.T) string {
			dev := ext(t)
			lab.Run(t, "debugfs", "-w", "-R", "set_super_value state 0", dev)
			return dev
		}, is(ErrNeedsCheck)},
		{"mounted", "ext4", func(t *testing.T) string {
			dev := ext(t)
			lab.Mount(t, dev)
			return dev
		}, refused(Busy)},
		{"empty", "xfs", func(t *testing.T) string { return lab.Loop(t, lab.File(t, 16*mib), 512) }, is(unix.EINVAL)},
		{"two devices", "btrfs", func(t *testing.T) string {
			a, b := lab.Loop(t, lab.File(t, 128*mib), 512), lab.Loop(t, lab.File(t, 128*mib), 512)
			lab.Run(t, "mkfs.btrfs", "-q", a, b)
			lab.Run(t, "btrfs", "device", "scan", a, b)
			t.Cleanup(func() { _ = exec.Command("btrfs", "device", "scan", "--forget").Run() })
			return a
		}, is(ErrCannotGrow)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dev := tt.dev(t)
			before := mountTable(t, dev)
			err := GrowFilesystem(t.Context(), dev, tt.fsType)
			if !tt.want(err) {
				t.Errorf("got %v", err)
			}
			if after := mountTable(t, dev); after != before {
				t.Errorf("mounts before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

func TestCheckExt(t *testing.T) {
	super := func(magic uint16, state byte) string {
		p := make([]byte, 2048)
		p[extSuper+extMagicAt], p[extSuper+extMagicAt+1] = byte(magic), byte(magic>>8)
		p[extSuper+extStateAt] = state
		return string(p)
	}
	for name, tt := range map[string]struct {
		contents string
		ok       bool
	}{
		"clean": {super(extMagic, 1), true}, "errors": {super(extMagic, 3), false}, "not clean": {super(extMagic, 0), false},
		"other magic": {super(0x1234, 1), false}, "short": {super(extMagic, 1)[:1100], false},
	} {
		path := t.TempDir() + "/super"
		if err := os.WriteFile(path, []byte(tt.contents), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := checkExt(f); (err == nil) != tt.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
