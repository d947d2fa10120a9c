package bootenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// fakeModule returns a relocatable ELF file that has nothing but a section
// .modinfo, and the mark of a signature behind it.
func fakeModule(fields ...string) []byte {
	info := strings.Join(fields, "\x00") + "\x00"
	const names = "\x00.modinfo\x00.shstrtab\x00"
	le := binary.LittleEndian
	b := make([]byte, 64, 4096)
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[0x10:], 1)  // relocatable
	le.PutUint16(b[0x12:], 62) // x86-64
	le.PutUint32(b[0x14:], 1)
	infoAt := len(b)
	b = append(b, info...)
	namesAt := len(b)
	b = append(b, names...)
	table := len(b)
	le.PutUint64(b[0x28:], uint64(table))
	le.PutUint16(b[0x34:], 64)
	le.PutUint16(b[0x3a:], 64)
	le.PutUint16(b[0x3c:], 3)
	le.PutUint16(b[0x3e:], 2)
	section := func(name, kind uint32, at, size int) {
		s := make([]byte, 64)
		le.PutUint32(s, name)
		le.PutUint32(s[4:], kind)
		le.PutUint64(s[24:], uint64(at))
		le.PutUint64(s[32:], uint64(size))
		b = append(b, s...)
	}
	section(0, 0, 0, 0)
	section(1, 1, infoAt, len(info))
	section(10, 3, namesAt, len(names))
	return append(b, "~Module signature appended~\n"...)
}

func TestReadModule(t *testing.T) {
	raw := fakeModule("name=fat", "alias=fs-vfat", "alias=fs-fat", "depends=nls-base,b", "softdep=pre: crc32c",
		"firmware=a/b.bin", "vermagic=6.1 SMP mod_unload", "description=x=y", "depends=")
	var xzed, zstded bytes.Buffer
	x, err := xz.NewWriter(&xzed)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewWriter(&zstded)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []interface {
		Write([]byte) (int, error)
		Close() error
	}{x, z} {
		if _, err := w.Write(raw); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := &Module{
		Path: "kernel/fs/fat-x.ko", Name: "fat_x", Aliases: []string{"fs-vfat", "fs-fat"}, Depends: []string{"nls_base", "b"},
		Softdeps: []string{"pre: crc32c"}, Firmware: []string{"a/b.bin"}, Vermagic: "6.1 SMP mod_unload",
	}
	for suffix, packed := range map[string][]byte{"": raw, ".xz": xzed.Bytes(), ".zst": zstded.Bytes()} {
		got, err := readModule("kernel/fs/fat-x.ko"+suffix, packed)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("readModule of .ko%s = %+v, %v, want %+v", suffix, got, err, want)
		}
	}
}

func TestReadModuleRejects(t *testing.T) {
	raw := fakeModule("vermagic=6.1 x")
	for name, packed := range map[string][]byte{
		"empty.ko":  nil,
		"text.ko":   []byte("no module"),
		"short.ko":  raw[:70],
		"not.ko.xz": raw, "not.ko.gz": raw, "not.ko.zst": raw,
	} {
		if m, err := readModule(name, packed); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), name) {
			t.Errorf("readModule(%s) = %+v, %v, want ErrMalformed with the name", name, m, err)
		}
	}
}

// A module that can be read is one by its own .modinfo.
func FuzzReadModule(f *testing.F) {
	f.Add(fakeModule("name=a", "vermagic=6.1 x", "alias=pci:v*"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := readModule("kernel/a.ko", raw)
		if err != nil {
			return
		}
		for _, text := range append(m.Aliases, m.Vermagic) {
			if !bytes.Contains(raw, []byte(text)) {
				t.Errorf("%q is not in the module", text)
			}
		}
	})
}
