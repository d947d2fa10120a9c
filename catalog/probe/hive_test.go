package probe

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

func itoa(n uint16) string { return strconv.Itoa(int(n)) }

// TestForeignHive reads a hive that hivex has written.
func TestForeignHive(t *testing.T) {
	const nt = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	check(t, probesOf(t, tree{"Windows/System32/config/SOFTWARE": fixture(t, "SOFTWARE")}), []expectation{
		{probe: "release", want: "10.0.19045"}, {probe: "reg|" + nt + "|CurrentBuild", want: "19045"}, {probe: "reg|" + nt + "|currentmajorversionnumber", want: "10"},
		{probe: "reg|" + nt + "|ProductName", want: "Windows 10 %Edition%"}, {probe: "reg|" + nt + "|", want: ""}, {probe: "reg|" + nt + "|nothing", want: ""},
		{probe: `reg|HKEY_LOCAL_MACHINE\software\TYPES|Quad`, want: "123456789"}, {probe: `reg|hklm\Software\types|Lines`, want: "one\ntwo"},
		{probe: `reg|HKLM\SOFTWARE\Types|Binary`, want: "deadbeef00"}, {probe: `reg|HKLM\SOFTWARE\Types|None`, want: "00"},
		{probe: `reg|HKLM\SOFTWARE\Many\key77|found`, want: "77"}, {probe: `reg|HKLM\SOFTWARE\Many\KEY77|FOUND`, want: "77"},
		{probe: `reg|HKLM\SOFTWARE\Many\key91|found`, want: ""}, {probe: `reg|HKLM\SOFTWARE\Many\key77\none|found`, want: ""},
		{probe: `reg|HKLM\SYSTEM\Setup|x`, want: ""}, {probe: `reg|HKCU\Software\x|y`, fault: "is not below"}, {probe: `reg|HKLM\SOFTWARE|y`, fault: "is not below"},
		{probe: `reg|HKLM\SAM\x|y`, fault: "is not below"}, {probe: "reg||", fault: "is not below"},
	})
	check(t, probesOf(t, tree{}), []expectation{{probe: `reg|HKLM\SOFTWARE\x|y`, want: ""}})
}

// A hiveFile is a hive that a test makes, cell by cell.
type hiveFile struct{ bins []byte }

func newHiveFile() *hiveFile { return &hiveFile{bins: make([]byte, 32)} }

// cell adds a cell and returns its offset. Strings and numbers are put one
// after the other.
func (h *hiveFile) cell(parts ...any) uint32 {
	var data []byte
	for _, part := range parts {
		if s, ok := part.(string); ok {
			data = append(data, s...)
			continue
		}
		data, _ = binary.Append(data, binary.LittleEndian, part)
	}
	offset := uint32(len(h.bins))
	size := (len(data) + 4 + 7) &^ 7
	h.bins = binary.LittleEndian.AppendUint32(h.bins, uint32(-size))
	h.bins = append(h.bins, data...)
	h.bins = append(h.bins, make([]byte, size-4-len(data))...)
	return offset
}

// key adds a key with its subkeys and values.
func (h *hiveFile) key(name string, subkeys int, list uint32, values ...uint32) uint32 {
	valueList := h.cell(values)
	return h.cell("nk", uint16(0x20), [16]byte{}, uint32(subkeys), uint32(0), list, uint32(0), uint32(len(values)), valueList, [28]byte{}, uint16(len(name)), uint16(0), name)
}

// value adds a value; up to 4 bytes lie in it.
func (h *hiveFile) value(name string, kind uint32, data []byte) uint32 {
	size, place := uint32(len(data)), uint32(0)
	if size <= 4 {
		place = binary.LittleEndian.Uint32(append(bytes.Clone(data), 0, 0, 0, 0))
		size |= 1 << 31
	} else {
		place = h.cell(data)
	}
	return h.cell("vk", uint16(len(name)), size, place, kind, uint16(1), uint16(0), name)
}

// file returns the hive whose first key is root.
func (h *hiveFile) file(root uint32) string {
	base := make([]byte, binsStart)
	copy(base, "regf")
	binary.LittleEndian.PutUint32(base[4:], 7)
	binary.LittleEndian.PutUint32(base[8:], 7)
	binary.LittleEndian.PutUint32(base[36:], root)
	h.bins = append(h.bins, make([]byte, (4096-len(h.bins)%4096)%4096)...)
	binary.LittleEndian.PutUint32(base[40:], uint32(len(h.bins)))
	binary.LittleEndian.PutUint32(base[508:], checksum(base[:508]))
	return string(append(base, h.bins...))
}

func wide(s string) []byte {
	var p []byte
	for _, u := range utf16.Encode([]rune(s)) {
		p = binary.LittleEndian.AppendUint16(p, u)
	}
	return p
}

// TestHive has what hivex does not write: lists of lists, lists without hashes,
// names in UTF-16, default values, values in several cells, control sets.
func TestHive(t *testing.T) {
	h := newHiveFile()
	long := strings.Repeat("0123456789abcdef", 1200) // 38400 bytes in UTF-16
	p := wide(long)
	segments := []uint32{h.cell(p[:segmentMax]), h.cell(p[segmentMax : 2*segmentMax]), h.cell(p[2*segmentMax:])}
	big := h.cell("db", uint16(3), h.cell(segments))
	values := []uint32{
		h.value("", 1, wide("the default\x00")), h.value("Dword", 4, []byte{1, 2, 0, 0}), h.value("Odd", 4, []byte{1, 2}), h.value("Empty", 1, nil),
		h.cell("vk", uint16(3), uint32(len(p)), big, uint32(1), uint16(1), uint16(0), "Big"),
		h.cell("vk", uint16(3), uint32(maxValue+2), big, uint32(1), uint16(1), uint16(0), "Too"),
		h.cell("vk", uint16(len(wide("Größe"))), uint32(4)|1<<31, [2]uint16{'g', 0}, uint32(1), uint16(0), uint16(0), wide("Größe")),
		h.value("Latin\xe4", 1, wide("ä\x00rest")),
	}
	set := h.key("ControlSet002", 0, 0, values...)
	selection := h.key("Select", 0, 0, h.value("Current", 4, []byte{2, 0, 0, 0}))
	one := h.cell("li", uint16(1), selection)
	two := h.cell("lf", uint16(2), h.key("ControlSet001", 0, 0), "cont", set, "cont")
	root := h.key("ROOT", 3, h.cell("ri", uint16(2), one, two))
	const key = `HKLM\SYSTEM\CurrentControlSet`
	check(t, probesOf(t, tree{"Windows/System32/config/SYSTEM": h.file(root)}), []expectation{
		{probe: "reg|" + key + "|", want: "the default"}, {probe: "reg|" + key + "|Dword", want: "513"}, {probe: "reg|" + key + "|Odd", want: "0102"},
		{probe: "reg|" + key + "|Empty", want: ""}, {probe: "reg|" + key + "|Big", want: long}, {probe: "reg|" + key + "|Too", fault: "a value of 131074 bytes"},
		{probe: "reg|" + key + "|GRÖSSE", want: ""}, {probe: "reg|" + key + "|größe", want: "g"}, {probe: "reg|" + key + "|LATINÄ", want: "ä"},
		{probe: `reg|HKLM\SYSTEM\ControlSet002|Dword`, want: "513"}, {probe: `reg|HKLM\SYSTEM\ControlSet001|Dword`, want: ""},
		{probe: `reg|HKLM\SYSTEM\CurrentControlSet\x|y`, want: ""}, {probe: `reg|HKLM\SYSTEM\Select|current`, want: "2"},
	})
}

// TestDamagedHive holds that damage is an error, and that nothing goes round in
// circles.
func TestDamagedHive(t *testing.T) {
	loop := newHiveFile()
	ri := uint32(len(loop.bins)) // a list of lists that is in itself
	loop.cell("ri", uint16(2), ri, ri)
	circle := loop.file(loop.key("ROOT", 2, ri))

	many := newHiveFile() // a key that stands in a list a thousand times, where one was said
	child := binary.LittleEndian.AppendUint32(nil, many.key("child", 0, 0))
	list := many.cell("li", uint16(1000), bytes.Repeat(child, 1000))
	fewer := many.file(many.key("ROOT", 1, list))

	lost := newHiveFile() // a key that lacks one of two subkeys
	list = lost.cell("li", uint16(1), lost.key("child", 0, 0))
	lacking := lost.file(lost.key("ROOT", 2, list))

	sound := fixture(t, "SOFTWARE")
	patched := func(offset int, value uint32) string {
		p := []byte(sound)
		binary.LittleEndian.PutUint32(p[offset:], value)
		binary.LittleEndian.PutUint32(p[508:], checksum(p[:508]))
		return string(p)
	}
	free := newHiveFile()
	gone := free.key("a", 0, 0)
	binary.LittleEndian.PutUint32(free.bins[gone:], 96)
	tests := []struct{ name, hive, fault string }{
		{"circle of lists", circle, "damaged registry hive: no list of keys"},
		{"more keys than said", fewer, "more subkeys than 1"},
		{"fewer keys than said", lacking, "1 of 2 subkeys"},
		{"dirty", patched(4, 1000), ErrHiveDirty.Error()},
		{"no checksum", sound[:508] + "\x00\x00\x00\x00" + sound[512:], "base block"},
		{"no signature", "fger" + sound[4:], "base block"},
		{"short", sound[:8192], "are wanted"},
		{"empty", "", "damaged registry hive"},
		{"root outside", patched(36, 1<<30), "cell at"},
		{"root is no key", patched(36, 0), "damaged registry hive"},
		{"a free cell", free.file(gone), "cell of -96 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			check(t, probesOf(t, tree{"Windows/System32/config/SOFTWARE": tt.hive}), []expectation{{probe: `reg|HKLM\SOFTWARE\b\c|d`, fault: tt.fault}})
		})
	}
}

// FuzzHive holds that looking for a key in whatever bytes ends soon, and that
// what is found in a hive of two keys is what was put there.
func FuzzHive(f *testing.F) {
	f.Add([]byte(fixture(f, "SOFTWARE"))[:8192+binsStart], `Many\key77`, "found")
	h := newHiveFile()
	sub := h.key("b", 0, 0, h.value("v", 1, wide("x")))
	f.Add([]byte(h.file(h.key("a", 1, h.cell("lh", uint16(1), sub, uint32(0))))), "b", "v")
	f.Fuzz(func(t *testing.T, p []byte, path, name string) {
		if len(p) >= 512 { // what is behind the base block is of interest
			copy(p, "regf")
			copy(p[4:8], p[8:12])
			binary.LittleEndian.PutUint32(p[40:], uint32(max(0, len(p)-binsStart)))
			binary.LittleEndian.PutUint32(p[508:], checksum(p[:508]))
		}
		start := time.Now()
		h, err := openHive(bytes.NewReader(p), int64(len(p)))
		if err != nil {
			return
		}
		k, found, err := h.find(path)
		if found && (err != nil || !strings.EqualFold(k.name, path[strings.LastIndexByte(path, '\\')+1:])) {
			t.Errorf("%q is %q, %v", path, k.name, err)
		}
		if found {
			_, _, err = h.value(k, name)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v, %v", took, err)
		}
	})
}

func TestChecksum(t *testing.T) {
	for sum, want := range map[uint32]uint32{0: 1, 1: 1, ^uint32(0): ^uint32(1), 0x12345678: 0x12345678} {
		p := binary.LittleEndian.AppendUint32(make([]byte, 504), sum)
		if got := checksum(p); got != want {
			t.Errorf("checksum of %#x = %#x, want %#x", sum, got, want)
		}
	}
}
