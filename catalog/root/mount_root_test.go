package root

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/blockdev"
	"slipcast/internal/lab"
)

// A part is a volume that a test makes.
type part struct {
	mkfs  string // program and arguments, without the device
	files map[string]string
}

// disk makes a disk of volumes, each on a loop device of its own.
func disk(t *testing.T, parts ...part) Disk {
	t.Helper()
	lab.Root(t)
	var d Disk
	for i, p := range parts {
		node := lab.Loop(t, lab.File(t, 200<<20), 512)
		args := append(strings.Fields(p.mkfs), node)
		lab.Tools(t, args[0])
		lab.Run(t, args[0], args[1:]...)
		if p.files != nil {
			fill(t, node, p.files)
		}
		d.Volumes = append(d.Volumes, Volume{Node: node, Name: fmt.Sprintf("partition %d", i+1), Number: i + 1})
	}
	return d
}

// fill writes files to a volume. Names that end in a slash are directories.
func fill(t *testing.T, node string, files map[string]string) {
	t.Helper()
	dir := lab.Mount(t, node)
	for name, text := range files {
		place := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(place, 0o755)
		} else {
			err = os.WriteFile(place, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lab.Unmount(t, dir)
}

// linux are the files of a system with the given etc/fstab.
func linux(fstab string) map[string]string {
	return map[string]string{"etc/fstab": fstab, "etc/passwd": "root", "boot/": "", "home/": "", "proc/": ""}
}

const ext4 = "mkfs.ext4 -q -F"

// TestRootMount mounts a system with a /boot of its own, writes to both, and
// finds it there after Close. Outside, nothing is seen of the mounts.
func TestRootMount(t *testing.T) {
	d := disk(t,
		part{ext4 + " -L bootvol", map[string]string{"vmlinuz": "kernel"}},
		part{ext4, linux("LABEL=rootvol / ext4 defaults 0 1\nLABEL=bootvol /boot ext4 defaults 0 2\nLABEL=gone /home ext4 defaults 0 2\nLABEL=gone /boot/efi vfat nofail 0 1\nproc /proc proc defaults 0 0\n")},
		part{"mkswap", nil},
	)
	dir := t.TempDir()
	r, err := Mount(t.Context(), d, dir, MountOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contents(r, "boot/vmlinuz"); got != "kernel" || err != nil {
		t.Errorf("boot/vmlinuz is %q, %v; want kernel", got, err)
	}
	var list []string
	for _, f := range r.Filesystems() {
		list = append(list, fmt.Sprintf("%s %s %s %v", f.Path, f.Type, f.Source, f.ReadOnly))
	}
	want := fmt.Sprintf(". ext4 %s false boot ext4 %s false", d.Volumes[1].Node, d.Volumes[0].Node)
	if strings.Join(list, " ") != want {
		t.Errorf("file systems are %v, want %s", list, want)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(table), dir) {
		t.Errorf("the mounts are seen from outside, want them in a namespace of their own (%v)", err)
	}
	for _, path := range []string{"new", "boot/new"} {
		write(t, r, path)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"new", "new"} {
		mounted := lab.Mount(t, d.Volumes[i].Node)
		if _, err := os.Stat(filepath.Join(mounted, name)); err != nil {
			t.Errorf("after Close: %v", err)
		}
		lab.Unmount(t, mounted)
		lab.Run(t, "e2fsck", "-fn", d.Volumes[i].Node)
	}
}

// TestRootMountKinds mounts a system from each kind of file system, to be
// written to and read-only.
func TestRootMountKinds(t *testing.T) {
	for name, mkfs := range map[string]string{"ext2": "mkfs.ext2 -q -F", "ext4": ext4, "xfs": "mkfs.xfs -q -f --unsupported", "btrfs": "mkfs.btrfs -q -f"} {
		t.Run(name, func(t *testing.T) {
			lab.Root(t)
			lab.Tools(t, strings.Fields(mkfs)[0])
			d := disk(t, part{mkfs, linux("")})
			for _, opt := range []MountOptions{{}, {ReadOnly: true}} {
				r, err := Mount(t.Context(), d, t.TempDir(), opt)
				if err != nil {
					t.Fatal(err)
				}
				if f := r.Filesystems()[0]; f.ReadOnly != opt.ReadOnly {
					t.Errorf("ReadOnly is %v, want %v", f.ReadOnly, opt.ReadOnly)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestRootMountSubvolumes finds a system where installers put it in a btrfs,
// with a /home in another subvolume.
func TestRootMountSubvolumes(t *testing.T) {
	d := disk(t, part{"mkfs.btrfs -q -f -L sys", nil})
	dir := lab.Mount(t, d.Volumes[0].Node)
	for _, name := range []string{"@", "@home"} {
		lab.Run(t, "btrfs", "subvolume", "create", filepath.Join(dir, name))
	}
	for name, text := range map[string]string{
		"@/etc/fstab": "LABEL=sys / btrfs subvol=/@ 0 0\nLABEL=sys /home btrfs defaults,subvol=/@home 0 0\n", "@/etc/passwd": "root", "@home/f": "home", "@/home/x": "below",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lab.Unmount(t, dir)
	r, err := Mount(t.Context(), d, t.TempDir(), MountOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contents(r, "home/f"); got != "home" || err != nil {
		t.Errorf("home/f is %q, %v; want home", got, err)
	}
	if n := len(r.Filesystems()); n != 2 {
		t.Errorf("%d file systems, want 2", n)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestRootMountRefuses: each reason has its name, and nothing stays in use.
func TestRootMountRefuses(t *testing.T) {
	sys := part{ext4, linux("")}
	blank := part{"true", nil}
	stamp := func(text string, at int64) func(*testing.T, Disk) {
		return func(t *testing.T, d Disk) { writeAt(t, d.Volumes[0].Node, text, at) }
	}
	tests := []struct {
		name  string
		parts []part
		spoil func(*testing.T, Disk)
		opt   MountOptions
		want  Reason
		err   error
	}{
		{"BitLocker", []part{blank}, func(t *testing.T, d Disk) { stamp("-FVE-FS-", 3)(t, d); stamp("\x55\xaa", 510)(t, d) }, MountOptions{}, Encrypted, ErrNoSystem},
		{"LUKS", []part{blank}, stamp("LUKS\xba\xbe\x00\x01", 0), MountOptions{}, Encrypted, ErrNoSystem},
		{"unknown", []part{blank}, nil, MountOptions{}, Container, ErrNoSystem},
		{"suspended", []part{{"mkswap", nil}, sys}, stamp("S1SUSPEND\x00", 4086), MountOptions{}, Suspended, nil},
		{"errors", []part{sys}, stamp("\x02", 1024+58), MountOptions{}, Damaged, ErrNoSystem},
		{"journal", []part{sys}, needsRecovery, MountOptions{ReadOnly: true}, Dirty, nil},
		{"two systems", []part{sys, sys}, nil, MountOptions{}, "", ErrSeveralSystems},
		{"no system", []part{{ext4, map[string]string{"data": ""}}}, nil, MountOptions{}, "", ErrNoSystem},
		{"no /boot", []part{{ext4, linux("UUID=1-1 /boot ext4 defaults 0 2\n")}}, nil, MountOptions{}, NotPresent, nil},
		{"suspended into a file", []part{sleeping("swapfile", "/swapfile none swap sw 0 0\n")}, nil, MountOptions{}, Suspended, nil},
		{"suspended into a file, read-only", []part{sleeping("swap.img", "/swap.img swap swap defaults\n")}, nil, MountOptions{ReadOnly: true}, Suspended, nil},
		{"no folder for it", []part{{ext4, linux("LABEL=x /opt ext4 defaults 0 2\n")}, {ext4 + " -L x", nil}}, nil, MountOptions{}, "", os.ErrNotExist},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := disk(t, tt.parts...)
			if tt.spoil != nil {
				tt.spoil(t, d)
			}
			r, err := Mount(t.Context(), d, t.TempDir(), tt.opt)
			if err == nil {
				r.Close()
				t.Fatal("Mount succeeds, want it refused")
			}
			var refused *RefusedError
			if tt.want != "" && (!errors.As(err, &refused) || refused.Reason != tt.want) {
				t.Errorf("Mount: %v, want the reason %s", err, tt.want)
			}
			if tt.err != nil && !errors.Is(err, tt.err) {
				t.Errorf("Mount: %v, want %v", err, tt.err)
			}
			for _, v := range d.Volumes {
				f, err := os.OpenFile(v.Node, os.O_RDWR|os.O_EXCL, 0)
				if err != nil {
					t.Errorf("%s is still in use: %v", v.Node, err)
					continue
				}
				f.Close()
			}
		})
	}
}

// sleeping is a system that is suspended into a file.
func sleeping(path, fstab string) part {
	files := linux(fstab)
	files[path] = strings.Repeat("\x00", 4086) + "S1SUSPEND\x00" + strings.Repeat("\x00", 1<<20)
	return part{ext4, files}
}

// TestRootMountAwake: a swap file that nobody sleeps in, one that is not there,
// and one on another volume, with a journal to replay.
func TestRootMountAwake(t *testing.T) {
	files := sleeping("swap", "/swapfile none swap sw 0 0\n/gone none swap sw 0 0\n/data/swap none swap sw 0 0\nLABEL=data /data ext4 defaults 0 2\n").files
	files["swapfile"] = strings.Repeat("\x00", 4086) + "SWAPSPACE2" + strings.Repeat("\x00", 1<<20)
	files["data/"] = ""
	for _, signature := range []string{"SWAPSPACE2", "S1SUSPEND\x00"} {
		data := map[string]string{"swap": strings.Repeat("\x00", 4086) + signature + strings.Repeat("\x00", 1<<20)}
		d := disk(t, part{ext4 + " -L data", data}, part{ext4, files})
		needsRecovery(t, d)
		r, err := Mount(t.Context(), d, t.TempDir(), MountOptions{})
		var refused *RefusedError
		if asleep := strings.HasPrefix(signature, "S1"); asleep != (errors.As(err, &refused) && refused.Reason == Suspended) || !asleep && err != nil {
			t.Errorf("with %q in data/swap: %v, want it refused only if it is suspended", signature, err)
		}
		if err == nil {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestRootMountAbsent: what lies where a volume ought to be that is not on the
// disk is neither read nor written, also by way of a link, and the volume is named.
func TestRootMountAbsent(t *testing.T) {
	files := linux("LABEL=gone /home ext4 defaults 0 2\nLABEL=nowhere /nowhere ext4 defaults 0 2\nLABEL=inner /home/inner ext4 defaults 0 2\n")
	files["home/old"] = "below"
	d := disk(t, part{ext4, files}, part{ext4 + " -L inner", map[string]string{"x": ""}})
	dir := lab.Mount(t, d.Volumes[0].Node)
	if err := os.Symlink("/home", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	lab.Unmount(t, dir)
	for _, opt := range []MountOptions{{}, {ReadOnly: true}} {
		r, err := Mount(t.Context(), d, t.TempDir(), opt)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"home/old", "home/new", "link/new", "home/inner/x"} {
			var absent *AbsentError
			p, err := r.Parent(path)
			if err == nil {
				p.Close()
			}
			if want := (path != "home/inner/x"); want && (!errors.As(err, &absent) || absent.Volume != "LABEL=gone") || err == nil {
				t.Errorf("Parent(%s) = %v, want an AbsentError of LABEL=gone", path, err)
			}
		}
		if _, err := r.Lstat("etc/fstab"); err != nil {
			t.Error(err)
		}
		if n := len(r.Filesystems()); n != 1 {
			t.Errorf("%d file systems, want 1", n)
		}
		if _, err := r.TreeDigest(t.Context(), TreeOptions{}); err != nil {
			t.Error(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// writeAt spoils a volume.
func writeAt(t *testing.T, node, text string, at int64) {
	t.Helper()
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(text), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// needsRecovery leaves an ext4 as a power cut does: s_feature_incompat has the
// flag EXT4_FEATURE_INCOMPAT_RECOVER.
func needsRecovery(t *testing.T, d Disk) {
	lab.Tools(t, "debugfs")
	lab.Run(t, "debugfs", "-w", "-R", "feature needs_recovery", d.Volumes[0].Node)
}

// TestRootMountChosen: of two systems, the one that is named.
func TestRootMountChosen(t *testing.T) {
	one, two := linux(""), linux("")
	one["which"], two["which"] = "one", "two"
	d := disk(t, part{ext4, one}, part{ext4, two})
	r, err := Mount(t.Context(), d, t.TempDir(), MountOptions{Root: d.Volumes[1].Node})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := contents(r, "which"); got != "two" || err != nil {
		t.Errorf("mounted is %q, %v; want two", got, err)
	}
}

// TestRootMountNoDriver: a file system that this kernel does not know is
// refused by name. FAT and NTFS are what a kernel may lack.
func TestRootMountNoDriver(t *testing.T) {
	p := &probed{Volume: Volume{Node: "/dev/null", Name: "partition 1"}, fs: "ntfs"}
	lab.Root(t)
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(known), "\tntfs3\n") || exec.Command("modprobe", "-n", "ntfs3").Run() == nil {
		lab.Lacks(t, "no ntfs3 to lack")
	}
	point, err := os.OpenFile(t.TempDir(), unixPath, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer point.Close()
	var refused *RefusedError
	if err := p.mountAt(point, MountOptions{}); !errors.As(err, &refused) || refused.Reason != NoDriver {
		t.Errorf("mountAt = %v, want the reason %s", err, NoDriver)
	}
}

// TestRootKilled: a process that is killed leaves no mount.
func TestRootKilled(t *testing.T) {
	if node := os.Getenv("ROOT_TEST_NODE"); node != "" {
		if _, err := Mount(t.Context(), Disk{[]Volume{{Node: node}}}, os.Getenv("ROOT_TEST_DIR"), MountOptions{}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("mounted")
		select {}
	}
	d := disk(t, part{ext4, linux("")})
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestRootKilled$")
	cmd.Env = append(os.Environ(), "ROOT_TEST_NODE="+d.Volumes[0].Node, "ROOT_TEST_DIR="+t.TempDir())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 8)
	if _, err := out.Read(said); err != nil || string(said) != "mounted\n" {
		t.Errorf("the child says %q, %v; want mounted", said, err)
	}
	if f, err := os.OpenFile(d.Volumes[0].Node, os.O_RDONLY|os.O_EXCL, 0); err == nil {
		f.Close()
		t.Error("the device is not in use while it is mounted")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if err := blockdev.Unmounted(d.Volumes[0].Node); err != nil {
		t.Errorf("after the process was killed: %v", err)
	}
}

// needsDriver skips the test on a kernel without a driver.
func needsDriver(t *testing.T, name string) {
	t.Helper()
	lab.Root(t)
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(known), "\t"+name+"\n") && exec.Command("modprobe", name).Run() != nil {
		lab.Lacks(t, "a driver for "+name)
	}
}

// TestRootMountESP: a FAT inside of a Linux system, by what it lacks.
func TestRootMountESP(t *testing.T) {
	needsDriver(t, "vfat")
	files := linux("UUID=ABCD-1234 /boot/efi vfat umask=0077 0 1\n")
	files["boot/efi/"] = ""
	d := disk(t, part{"mkfs.fat -i ABCD1234", map[string]string{"EFI/Böot/x.efi": "loader"}}, part{ext4, files})
	r, err := Mount(t.Context(), d, t.TempDir(), MountOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contents(r, "boot/efi/efi/BÖOT/X.EFI"); got != "loader" || err != nil {
		t.Errorf("the loader is %q, %v; want it found in any case", got, err)
	}
	if f := r.Filesystems()[1]; f.Path != "boot/efi" || f.Type != "vfat" || f.Links || f.Owners || f.Xattrs {
		t.Errorf("the file system is %+v, want vfat at boot/efi without links, owners and attributes", f)
	}
	if _, err := r.TreeDigest(t.Context(), TreeOptions{}); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// TestRootMountWindows: an NTFS with a Windows; one that is marked dirty or
// hibernated is refused.
func TestRootMountWindows(t *testing.T) {
	needsDriver(t, "ntfs3")
	lab.Tools(t, "mkfs.ntfs")
	for hibernated, text := range map[bool]string{false: "\x00\x00\x00\x00", true: "HIBR"} {
		d := disk(t, part{"mkfs.ntfs -q -Q -F", nil})
		dir := lab.Mount(t, d.Volumes[0].Node, "-t", "ntfs3")
		if err := os.MkdirAll(filepath.Join(dir, "Windows/System32"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "hiberfil.sys"), []byte(text+strings.Repeat("x", 8192)), 0o644); err != nil {
			t.Fatal(err)
		}
		lab.Unmount(t, dir)
		r, err := Mount(t.Context(), d, t.TempDir(), MountOptions{})
		var refused *RefusedError
		switch {
		case hibernated && (!errors.As(err, &refused) || refused.Reason != Suspended):
			t.Errorf("hibernated: %v, want the reason %s", err, Suspended)
		case !hibernated && err != nil:
			t.Error(err)
		case !hibernated && r.Family() != Windows:
			t.Errorf("family %s, want %s", r.Family(), Windows)
		}
		if err == nil {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
