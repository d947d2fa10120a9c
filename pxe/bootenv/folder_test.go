package bootenv

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fakeFiles are the files of a boot folder whose programs are signed by the
// authority of these tests.
func fakeFiles(t testing.TB, arch Arch, version string) map[string]bootFile {
	t.Helper()
	load := func() ([]byte, error) { return fakeModule("vermagic=" + version + " SMP"), nil }
	ramfs := &initramfs{version: version, agent: fakeAgent(), firmware: map[string][]byte{"a/b.bin": []byte("x")},
		modules: []*Module{{Path: "kernel/a.ko", Name: "a", load: load}}}
	initrd, _, err := ramfs.pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	program := func(p []byte) []byte {
		if arch == ARM64 {
			p[0x44], p[0x45] = 0x64, 0xaa
		}
		return sign(t, p)
	}
	dir := string(arch) + "/"
	return map[string]bootFile{
		"bios/undionly.kpxe": {data: []byte("ipxe")},
		dir + "shim.efi":     {data: program(shimOf(testCA(t).Raw, nil, ""))},
		dir + "grub.efi":     {data: program(grubOf("2.12", "http", "tftp"))},
		dir + "linux":        {data: bzImage(version + " x"), from: origin{"linux-image", "6.1-1", "trixie"}},
		dir + "initrd":       {data: initrd},
	}
}

// buildFake writes a boot folder of made-up files.
func buildFake(t testing.TB, dir string, arch Arch, version string) {
	t.Helper()
	b, err := newBuilder(Options{Dir: dir, Arch: arch})
	if err != nil {
		t.Fatal(err)
	}
	b.files = fakeFiles(t, arch, version)
	b.env = Environment{Kernel: version}
	old, err := b.previous()
	if err != nil {
		t.Fatal(err)
	}
	b.describe(old)
	if err := b.write(old); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "boot")
	buildFake(t, dir, X64, "6.1")
	r, err := Check(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	grub, shim, kernel := r.Findings["x64/grub.efi"], r.Findings["x64/shim.efi"], r.Findings["x64/linux"]
	if grub.GRUB != "2.12" || !slices.Equal(grub.Signers, []string{"Test Signer, by Test CA"}) || grub.Refused != "" {
		t.Errorf("GRUB is found as %+v", grub)
	}
	if !slices.Equal(shim.Trusts, []string{"Test CA"}) {
		t.Errorf("shim trusts %q, want Test CA", shim.Trusts)
	}
	if kernel.Refused == "" {
		t.Error("a kernel that is not signed is found to start under Secure Boot")
	}
	if got, want := r.Manifest.Files["x64/linux"].Suite, "trixie"; got != want {
		t.Errorf("the kernel is of suite %q, want %q", got, want)
	}
}

// Whatever is changed in a folder, the check finds it and says where.
func TestCheckFindsDamage(t *testing.T) {
	for name := range fakeFiles(t, X64, "6.1") {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "boot")
			buildFake(t, dir, X64, "6.1")
			file := filepath.Join(dir, name)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 1
			for _, damage := range []func() error{
				func() error { return os.WriteFile(file, data, 0o600) },
				func() error { return os.Truncate(file, int64(len(data)-1)) },
				func() error { return os.Remove(file) },
			} {
				if err := damage(); err != nil {
					t.Fatal(err)
				}
				if _, err := Check(t.Context(), dir); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), name) {
					t.Errorf("Check = %v, want ErrDamaged with %s", err, name)
				}
			}
		})
	}
}

// Files that do not fit together are found, though each of them is whole.
func TestCheckFindsMismatch(t *testing.T) {
	tests := []struct {
		name, file, of string
		want           error
	}{
		{"kernel and manifest", "x64/linux", "6.2", ErrMismatch},
		{"modules and kernel", "x64/initrd", "6.2", ErrMismatch},
		{"agent and architecture", "arm64/initrd", "6.1", ErrNotAgent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			arch := Arch(strings.Split(tt.file, "/")[0])
			files := fakeFiles(t, arch, "6.1")
			files[tt.file] = fakeFiles(t, arch, tt.of)[tt.file]
			_, err := checkArch(arch, Environment{Kernel: "6.1"}, files)
			if !errors.Is(err, tt.want) {
				t.Errorf("checkArch = %v, want %v", err, tt.want)
			}
		})
	}
	foreign := fakeFiles(t, X64, "6.1")
	foreign["x64/grub.efi"] = fakeFiles(t, ARM64, "6.1")["arm64/grub.efi"]
	if _, err := examine(X64, foreign); !errors.Is(err, ErrMismatch) {
		t.Errorf("examine with a GRUB for arm64 = %v, want ErrMismatch", err)
	}
	old := fakeFiles(t, X64, "6.1")
	old["x64/grub.efi"] = bootFile{data: sign(t, grubOf("2.06", "tftp"))}
	if _, err := examine(X64, old); !errors.Is(err, ErrOldGRUB) {
		t.Errorf("examine with GRUB 2.06 = %v, want ErrOldGRUB", err)
	}
}

func TestCheckNoFolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := Check(t.Context(), dir); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
		t.Errorf("Check of an empty folder = %v, want that there is no file", err)
	}
	if err := os.WriteFile(filepath.Join(dir, ManifestFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Check(t.Context(), dir); !errors.Is(err, ErrDamaged) {
		t.Errorf("Check with half a manifest = %v, want ErrDamaged", err)
	}
}

// A build replaces the files of its architecture, keeps those of the other,
// and leaves nothing beside the folder.
func TestBuildAgain(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "boot")
	buildFake(t, dir, X64, "6.1")
	open, err := os.Open(filepath.Join(dir, "x64/linux"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	buildFake(t, dir, ARM64, "6.2")
	buildFake(t, dir, X64, "6.3")
	m, err := ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	if x, a := m.Arch[X64].Kernel, m.Arch[ARM64].Kernel; x != "6.3" || a != "6.2" {
		t.Errorf("kernels are %s and %s, want 6.3 and 6.2", x, a)
	}
	want := slices.Sorted(maps.Keys(fakeFiles(t, X64, "6.3")))
	for _, name := range append(want, "arm64/linux", "arm64/initrd") {
		if data, err := checkedFile(dir, name, m.Files[name]); err != nil {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
	head := make([]byte, 0x400)
	if _, err := open.ReadAt(head, 0); err != nil || !strings.HasPrefix(string(head[0x300:]), "6.1") {
		t.Errorf("a file that was open reads %q, %v, want the old kernel", head[0x300:0x304], err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) != 1 {
		t.Errorf("beside the folder there are %v, %v, want nothing", left, err)
	}
}

// A folder with anything else in it is not replaced.
func TestBuildRefusesForeign(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Build(t.Context(), Options{Dir: dir, Agent: "none"})
	if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("Build = %v, want ErrForeign with the file", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// Every manifest that is accepted is written as it was read.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schema": 1, "arch": {"x64": {"kernel": "6.1"}}, "files": {"x64/linux": {"size_bytes": 1,
		"sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		for name := range m.Files {
			if !fs.ValidPath(name) {
				t.Errorf("a file %q leads out of the folder", name)
			}
		}
		text, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseManifest(text); err != nil || len(again.Files) != len(m.Files) {
			t.Errorf("what is written reads as %+v, %v, want %+v", again, err, m)
		}
	})
}
