package bootenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// elfModule is an ELF object whose only content is its name.
func elfModule(name string) []byte {
	const names = "\x00.modname\x00.shstrtab\x00"
	le := binary.LittleEndian
	p := make([]byte, 64)
	copy(p, "\x7fELF\x02\x01\x01")
	le.PutUint16(p[16:], 1)  // relocatable
	le.PutUint16(p[18:], 62) // x86-64
	le.PutUint32(p[20:], 1)
	le.PutUint16(p[52:], 64)
	le.PutUint16(p[58:], 64)
	le.PutUint16(p[60:], 3)
	le.PutUint16(p[62:], 2)
	p = append(append(p, name...), 0)
	strings := len(p)
	p = append(p, names...)
	p = append(p, make([]byte, -len(p)&7)...)
	le.PutUint64(p[40:], uint64(len(p)))
	for _, s := range [][4]int{{}, {1, 1, 64, len(name) + 1}, {10, 3, strings, len(names)}} {
		header := make([]byte, 64)
		le.PutUint32(header, uint32(s[0]))
		le.PutUint32(header[4:], uint32(s[1]))
		le.PutUint64(header[24:], uint64(s[2]))
		le.PutUint64(header[32:], uint64(s[3]))
		p = append(p, header...)
	}
	return p
}

// modsOf is a mods section with these modules and a configuration.
func modsOf(names ...string) []byte {
	le := binary.LittleEndian
	entry := func(kind int, data []byte) []byte {
		out := le.AppendUint32(nil, uint32(kind))
		return append(le.AppendUint32(out, uint32(8+len(data))), data...)
	}
	body := entry(2, []byte("normal\n\x00"))
	for _, name := range names {
		body = append(body, entry(0, elfModule(name))...)
	}
	header := le.AppendUint64([]byte("mimg\x00\x00\x00\x00"), 24)
	return append(le.AppendUint64(header, uint64(24+len(body))), body...)
}

// grubOf is a GRUB of that version.
func grubOf(version string, modules ...string) []byte {
	sbat := "sbat,1,SBAT Version,sbat,1,url\ngrub,5,Free Software Foundation,grub," + version + ",url\n"
	return buildProgram(testSection{"mods", modsOf(modules...)}, testSection{".sbat", []byte(sbat)})
}

func TestReadGRUB(t *testing.T) {
	g, err := ReadGRUB(program(t, grubOf("2.12", "tftp", "normal", "http")))
	if err != nil || g.Version != "2.12" || !slices.Equal(g.Modules, []string{"http", "normal", "tftp"}) {
		t.Errorf("ReadGRUB = %+v, %v, want 2.12 with http, normal and tftp", g, err)
	}
}

func TestGRUBCheck(t *testing.T) {
	both := []string{"http", "tftp"}
	tests := []struct {
		grub GRUB
		ok   bool
	}{
		{GRUB{"2.12", both}, true},
		{GRUB{"2.14", both}, true},
		{GRUB{"2.12-1", both}, true},
		{GRUB{"3.0", both}, true},
		{GRUB{"2.12~rc1", both}, false},
		{GRUB{"2.06", both}, false},
		{GRUB{"2.2", both}, false},
		{GRUB{"1.99", both}, false},
		{GRUB{"2", both}, false},
		{GRUB{"new", both}, false},
		{GRUB{"2.12", []string{"tftp"}}, false},
		{GRUB{"2.12", []string{"http"}}, false},
	}
	for _, tt := range tests {
		if err := tt.grub.Check(); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrOldGRUB) {
			t.Errorf("Check of %+v = %v, want ok = %t", tt.grub, err, tt.ok)
		}
	}
}

func TestReadGRUBRejects(t *testing.T) {
	sbat := testSection{".sbat", []byte("grub,5,FSF,grub,2.12,url\n")}
	long := modsOf("http")
	long[16]++
	entry := modsOf("http")
	entry[28] = 7
	object := modsOf("http")
	object[24+16+8] = 'E'
	for name, data := range map[string][]byte{
		"no GRUB":          sample(),
		"no modules":       buildProgram(sbat),
		"size of modules":  buildProgram(sbat, testSection{"mods", long}),
		"size of an entry": buildProgram(sbat, testSection{"mods", entry}),
		"damaged module":   buildProgram(sbat, testSection{"mods", object}),
	} {
		if g, err := ReadGRUB(program(t, data)); !errors.Is(err, ErrNotProgram) {
			t.Errorf("%s: ReadGRUB = %+v, %v, want ErrNotProgram", name, g, err)
		}
	}
}

// FuzzGRUBModules holds the names to be in the section, in order.
func FuzzGRUBModules(f *testing.F) {
	f.Add(modsOf("http", "tftp"))
	f.Add(modsOf())
	f.Fuzz(func(t *testing.T, section []byte) {
		names, err := grubModules(section)
		if err != nil {
			return
		}
		if !slices.IsSorted(names) || len(names) > len(section)/8 {
			t.Errorf("%d names: %q", len(names), names)
		}
		for _, name := range names {
			if !bytes.Contains(section, []byte(name)) {
				t.Errorf("%q is not in the section", name)
			}
		}
	})
}
