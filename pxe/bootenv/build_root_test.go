package bootenv

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/pxe/debian"
)

// TestRootBuild makes a boot folder of Debian's packages and of its kernel for
// clouds, which is a third of the size of the others, and holds the index of
// the modules against that of depmod. It needs the network.
func TestRootBuild(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "depmod", "fsck.fat", "zstd", "cpio")
	source := debian.Source{Cache: t.TempDir()}
	image, root := cloudKernel(t, source)
	agent := filepath.Join(t.TempDir(), "agent")
	if err := writeFile(agent, fakeAgent()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "boot")
	opt := Options{
		Dir: dir, Set: Virt, Kernel: image, Modules: moduleFolder(t, root), Agent: agent, AddModules: []string{"squashfs"},
		Ticket: []Entry{{Name: "etc/slipcast/ticket.json", Data: []byte("{}")}, {Name: "etc/slipcast/root.json", Data: []byte("[]")}}, Debian: source,
	}
	result, err := Build(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	env := result.Manifest.Arch[X64]
	if refused := result.Findings["x64/linux"].Refused; refused != "" {
		t.Errorf("Debian's kernel is %s", refused)
	}
	if env.Kernel != filepath.Base(opt.Modules) || env.Modules < 30 {
		t.Errorf("environment is %+v, want more modules, and kernel %s", env, filepath.Base(opt.Modules))
	}
	if _, err := Check(t.Context(), dir); err != nil {
		t.Error(err)
	}
	compareWithDepmod(t, filepath.Join(dir, "x64/initrd"), env.Kernel)
	disk, err := os.ReadFile(filepath.Join(dir, "x64/boot.img"))
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := ticketArchive(opt.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	initrd, err := os.ReadFile(filepath.Join(dir, "x64/initrd"))
	if err != nil {
		t.Fatal(err)
	}
	checkFAT(t, disk[imageStart*fatSector:], "::INITRD", slices.Concat(initrd, ticket))

	opt.Debian.Suites = []string{"bookworm"}
	if _, err := Build(t.Context(), opt); !errors.Is(err, ErrOldGRUB) {
		t.Errorf("Build with the GRUB of bookworm = %v, want ErrOldGRUB", err)
	}
	if after, err := ReadManifest(dir); err != nil || !maps.EqualFunc(after.Files, result.Manifest.Files, func(a, b File) bool { return a.SHA256 == b.SHA256 }) {
		t.Errorf("a build that failed has left %+v, %v", after, err)
	}
}

// cloudKernel unpacks Debian's kernel for clouds and returns its image and the
// folder that it was unpacked to.
func cloudKernel(t *testing.T, source debian.Source) (image, root string) {
	t.Helper()
	a, err := debian.Open(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	p, err := a.Resolve("linux-image-cloud-amd64", "linux-image-")
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := a.Fetch(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	root = t.TempDir()
	err = debian.Unpack(pkg, func(f debian.File) error {
		if !f.Mode.IsRegular() || f.Link != "" {
			return nil
		}
		data, err := contentOf(f, maxKernel)
		if err != nil {
			return err
		}
		if strings.HasPrefix(f.Name, "boot/vmlinuz-") {
			image = filepath.Join(root, f.Name)
		}
		return writeFile(filepath.Join(root, f.Name), data)
	})
	if err != nil {
		t.Fatal(err)
	}
	return image, root
}

// moduleFolder returns the one folder of modules below root.
func moduleFolder(t *testing.T, root string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(root, "usr/lib/modules/*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("folders of modules are %q, %v, want one", found, err)
	}
	return found[0]
}

// compareWithDepmod unpacks an initramfs with the system's tools and holds its
// index against what depmod makes of the same modules.
func compareWithDepmod(t *testing.T, initrd, version string) {
	t.Helper()
	root := t.TempDir()
	lab.Run(t, "sh", "-c", "zstd -dqc "+initrd+" | (cd "+root+" && cpio -idm --quiet)")
	dir := filepath.Join(root, "lib/modules", version)
	ours := map[string]map[string]bool{}
	for _, name := range []string{"modules.dep", "modules.alias", "modules.softdep"} {
		ours[name] = lines(t, filepath.Join(dir, name))
	}
	lab.Run(t, "depmod", "-b", root, version)
	for name, got := range ours {
		want := lines(t, filepath.Join(dir, name))
		for line := range want {
			if !got[line] {
				t.Errorf("%s lacks what depmod writes: %s", name, line)
			}
		}
		for line := range got {
			if !want[line] {
				t.Errorf("%s has what depmod does not write: %s", name, line)
			}
		}
	}
}

// lines returns the lines of an index. In modules.dep the order of what a
// module needs is left to us.
func lines(t *testing.T, file string) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if filepath.Base(file) == "modules.dep" {
			slices.Sort(words[1:])
		}
		found[strings.Join(words, " ")] = true
	}
	return found
}
