package bootenv

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// testImage is a boot.img of made-up files.
func testImage() *image {
	big := bytes.Repeat([]byte("initrd "), 700_000)
	return &image{arch: X64, shim: []byte("shim"), grub: []byte("grub"), mm: nil, kernel: bytes.Repeat([]byte("k"), 4096), initrd: big}
}

func TestImageIsReproducible(t *testing.T) {
	a, err := testImage().build()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := testImage().build(); err != nil || !bytes.Equal(a, b) {
		t.Errorf("the same files make another image, %v", err)
	}
	other := testImage()
	other.shim = []byte("shin")
	if b, err := other.build(); err != nil || bytes.Equal(a[440:444], b[440:444]) {
		t.Errorf("other files make an image with the same number %x, %v", b[440:444], err)
	}
}

func TestFATRejects(t *testing.T) {
	for _, list := range [][]Entry{
		{{Name: "toolongname"}}, {{Name: "lower.efi"}}, {{Name: "A.LONG"}}, {{Name: ".EFI"}}, {{Name: "A//B"}},
		{{Name: "A"}, {Name: "A"}},
	} {
		if _, err := newFAT(list, 0, "X", 1); err == nil {
			t.Errorf("newFAT(%+v) = nil, want an error", list)
		}
	}
}

// The system's tools find no fault, and read what was written. Sizes are those
// where clusters become larger.
func TestRootFAT(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "fsck.fat", "mcopy", "sfdisk")
	disk, err := testImage().build()
	if err != nil {
		t.Fatal(err)
	}
	checkFAT(t, disk[imageStart*fatSector:], "::INITRD", testImage().initrd)
	file := filepath.Join(t.TempDir(), "boot.img")
	if err := os.WriteFile(file, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lab.Run(t, "sfdisk", "--verify", file); !strings.Contains(got, "No errors detected") {
		t.Errorf("sfdisk says %s", got)
	}
	for _, size := range []int{0, 1, 4096, 4097, 17 << 20, 260 << 20} {
		data := bytes.Repeat([]byte{byte(size), 'x'}, size/2+1)[:size]
		fat, err := newFAT([]Entry{{Name: "A/B/C/FILE.BIN", Data: data}, {Name: "A/X", Data: []byte("y")}}, 0, "X", 1)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if n, err := fat.WriteTo(&b); err != nil || n != fat.size() || n != int64(b.Len()) {
			t.Errorf("WriteTo = %d, %v, wrote %d, want %d", n, err, b.Len(), fat.size())
		}
		checkFAT(t, b.Bytes(), "::A/B/C/FILE.BIN", data)
	}
}

// checkFAT holds a file system to be clean and to have a file.
func checkFAT(t *testing.T, fat []byte, name string, want []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fat")
	if err := os.WriteFile(file, fat, 0o600); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "fsck.fat", "-n", file)
	lab.Run(t, "mcopy", "-n", "-i", file, name, file+".out")
	got, err := os.ReadFile(file + ".out")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s has %d bytes, %v, want %d", name, len(got), err, len(want))
	}
	if err := os.Remove(file); err != nil {
		t.Error(err)
	}
}

// The words for the kernel are in the script of GRUB, and nothing that means
// more than itself there.
func TestImageArgs(t *testing.T) {
	im := testImage()
	im.args = []string{"console=tty0", "console=ttyS0,115200"}
	p, err := im.build()
	if err != nil {
		t.Fatal(err)
	}
	if want := "linux /LINUX panic=30 quiet loglevel=4 console=tty0 console=ttyS0,115200\n"; !bytes.Contains(p, []byte(want)) {
		t.Errorf("the image does not hold %q", want)
	}
	for _, word := range []string{"", "two words", "a\nreboot", "$x", "a;b", `"`} {
		im.args = []string{word}
		if _, err := im.build(); err == nil {
			t.Errorf("%q is taken for a word", word)
		}
	}
}
