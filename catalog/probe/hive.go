package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
)

// errHive says that a file of the registry is damaged.
var errHive = errors.New("damaged registry hive")

// ErrHiveDirty says that the last changes of a hive lie in its logs: Windows
// was not shut down.
var ErrHiveDirty = errors.New("the last changes of this registry hive are not in it")

// Bounds of a hive, and sizes in it.
const (
	maxHive    = 2 << 30   // bytes: Windows' own
	maxKeys    = 1_000_000 // subkeys of one key
	maxValue   = 128 << 10 // bytes of a value that is asked for
	maxName    = 1024      // bytes of a name
	binsStart  = 4096      // where what offsets count from begins
	segmentMax = 16344     // bytes of data in one cell; more are in several
)

// A hive is a file of the registry, in the format that M. Suhanov's "Windows
// registry file format specification" describes; numbers are little-endian.
// It is read where it is needed.
type hive struct {
	r    io.ReaderAt
	size int64  // bytes that offsets may lie in
	root uint32 // the cell of the first key
}

// openHive reads the base block of a hive of size bytes.
func openHive(r io.ReaderAt, size int64) (*hive, error) {
	block := make([]byte, 512)
	if size > maxHive {
		return nil, fmt.Errorf("%w: %d bytes", errHive, size)
	}
	if _, err := r.ReadAt(block, 0); err != nil {
		return nil, fmt.Errorf("%w: %w", errHive, err)
	}
	if string(block[:4]) != "regf" || binary.LittleEndian.Uint32(block[508:]) != checksum(block[:508]) {
		return nil, fmt.Errorf("%w: base block", errHive)
	}
	if binary.LittleEndian.Uint32(block[4:]) != binary.LittleEndian.Uint32(block[8:]) {
		return nil, ErrHiveDirty
	}
	bins := int64(binary.LittleEndian.Uint32(block[40:]))
	if binsStart+bins > size {
		return nil, fmt.Errorf("%w: %d bytes, %d are wanted", errHive, size, binsStart+bins)
	}
	return &hive{r: r, size: bins, root: binary.LittleEndian.Uint32(block[36:])}, nil
}

// checksum is that of a base block: all numbers xored, but never 0 or -1.
func checksum(p []byte) uint32 {
	var sum uint32
	for ; len(p) > 0; p = p[4:] {
		sum ^= binary.LittleEndian.Uint32(p)
	}
	switch sum {
	case 0:
		return 1
	case ^uint32(0):
		return sum - 1
	}
	return sum
}

// cell reads the first n bytes of a cell, or of its part from the byte from on.
// A cell that is free, or too short, is an error.
func (h *hive) cell(offset uint32, from, n int64) ([]byte, error) {
	at := int64(offset)
	if at+4 > h.size {
		return nil, fmt.Errorf("%w: cell at %#x", errHive, offset)
	}
	var head [4]byte
	if _, err := h.r.ReadAt(head[:], binsStart+at); err != nil {
		return nil, err
	}
	size := -int64(int32(binary.LittleEndian.Uint32(head[:])))
	if size < 4+from+n || at+size > h.size {
		return nil, fmt.Errorf("%w: cell of %d bytes at %#x", errHive, size, offset)
	}
	p := make([]byte, n)
	_, err := h.r.ReadAt(p, binsStart+at+4+from)
	return p, err
}

// A key is a key of the registry.
type key struct {
	name            string
	subkeys, values uint32 // how many
	subkeyList      uint32
	valueList       uint32
}

// key reads the cell of a key: a node of 76 bytes and its name.
func (h *hive) key(offset uint32) (key, error) {
	p, err := h.cell(offset, 0, 76)
	if err != nil {
		return key{}, err
	}
	if string(p[:2]) != "nk" {
		return key{}, fmt.Errorf("%w: no key at %#x", errHive, offset)
	}
	k := key{
		subkeys: binary.LittleEndian.Uint32(p[20:]), subkeyList: binary.LittleEndian.Uint32(p[28:]),
		values: binary.LittleEndian.Uint32(p[36:]), valueList: binary.LittleEndian.Uint32(p[40:]),
	}
	const compressed = 0x20
	k.name, err = h.name(offset, 76, binary.LittleEndian.Uint16(p[72:]), binary.LittleEndian.Uint16(p[2:])&compressed != 0)
	return k, err
}

// name reads a name of a key or a value: one byte for each character if it is
// compressed (they are those of Latin-1), else UTF-16.
func (h *hive) name(offset uint32, from int64, length uint16, compressed bool) (string, error) {
	if length > maxName {
		return "", fmt.Errorf("%w: name of %d bytes at %#x", errHive, length, offset)
	}
	p, err := h.cell(offset, from, int64(length))
	if err != nil {
		return "", err
	}
	if !compressed {
		return decodeUTF16(p), nil
	}
	runes := make([]rune, len(p))
	for i, c := range p {
		runes[i] = rune(c)
	}
	return string(runes), nil
}

// find returns the key at a path of names between backslashes.
func (h *hive) find(path string) (k key, found bool, err error) {
	k, err = h.key(h.root)
	for name := range strings.SplitSeq(path, `\`) {
		if err != nil {
			return k, false, err
		}
		if k, found, err = h.subkey(k, name); !found {
			return k, false, err
		}
	}
	return k, found, err
}

// subkey returns the key of that name, in whatever case, below k.
func (h *hive) subkey(k key, name string) (sub key, found bool, err error) {
	if k.subkeys == 0 {
		return key{}, false, nil
	}
	if k.subkeys > maxKeys {
		return key{}, false, fmt.Errorf("%w: %d subkeys", errHive, k.subkeys)
	}
	lists, err := h.lists(k.subkeyList)
	if err != nil {
		return key{}, false, err
	}
	left := int64(k.subkeys)
	for _, list := range lists {
		offsets, err := h.offsets(list)
		if err != nil {
			return key{}, false, err
		}
		if left -= int64(len(offsets)); left < 0 {
			return key{}, false, fmt.Errorf("%w: more subkeys than %d", errHive, k.subkeys)
		}
		for _, offset := range offsets {
			sub, err := h.key(offset)
			if err != nil || strings.EqualFold(sub.name, name) {
				return sub, err == nil, err
			}
		}
	}
	if left != 0 {
		return key{}, false, fmt.Errorf("%w: %d of %d subkeys", errHive, int64(k.subkeys)-left, k.subkeys)
	}
	return key{}, false, nil
}

// lists returns the lists that a list of lists is made of, or the list itself.
func (h *hive) lists(offset uint32) ([]uint32, error) {
	head, err := h.cell(offset, 0, 4)
	if err != nil {
		return nil, err
	}
	if string(head[:2]) != "ri" {
		return []uint32{offset}, nil
	}
	return h.numbers(offset, int64(binary.LittleEndian.Uint16(head[2:])), 4, 4)
}

// offsets returns what a list of keys is made of. Those of lf and lh have 4
// bytes of name or hash behind each offset.
func (h *hive) offsets(list uint32) ([]uint32, error) {
	head, err := h.cell(list, 0, 4)
	if err != nil {
		return nil, err
	}
	count := int64(binary.LittleEndian.Uint16(head[2:]))
	switch string(head[:2]) {
	case "li":
		return h.numbers(list, count, 4, 4)
	case "lf", "lh":
		return h.numbers(list, count, 4, 8)
	}
	return nil, fmt.Errorf("%w: no list of keys at %#x", errHive, list)
}

// numbers reads count numbers of a cell, each step bytes after the other.
func (h *hive) numbers(offset uint32, count, from, step int64) ([]uint32, error) {
	p, err := h.cell(offset, from, count*step)
	if err != nil {
		return nil, err
	}
	var all []uint32
	for ; len(p) > 0; p = p[step:] {
		all = append(all, binary.LittleEndian.Uint32(p))
	}
	return all, nil
}

// value returns a value of a key as text; an empty name is that of the default
// value.
func (h *hive) value(k key, name string) (text string, found bool, err error) {
	if k.values == 0 {
		return "", false, nil
	}
	if k.values > maxKeys {
		return "", false, fmt.Errorf("%w: %d values", errHive, k.values)
	}
	offsets, err := h.numbers(k.valueList, int64(k.values), 0, 4)
	if err != nil {
		return "", false, err
	}
	for _, offset := range offsets {
		p, err := h.cell(offset, 0, 20)
		if err != nil {
			return "", false, err
		}
		if string(p[:2]) != "vk" {
			return "", false, fmt.Errorf("%w: no value at %#x", errHive, offset)
		}
		const compressed = 1
		n, err := h.name(offset, 20, binary.LittleEndian.Uint16(p[2:]), binary.LittleEndian.Uint16(p[16:])&compressed != 0)
		if err != nil {
			return "", false, err
		}
		if strings.EqualFold(n, name) {
			text, err = h.valueText(p)
			return text, err == nil, err
		}
	}
	return "", false, nil
}

// valueText returns what a value holds: texts as they are, several of them in
// lines, numbers in decimal, anything else in hexadecimal.
func (h *hive) valueText(vk []byte) (string, error) {
	p, err := h.data(vk)
	if err != nil {
		return "", err
	}
	switch kind := binary.LittleEndian.Uint32(vk[12:]); {
	case kind == 1 || kind == 2: // REG_SZ, REG_EXPAND_SZ
		text, _, _ := strings.Cut(decodeUTF16(p), "\x00")
		return text, nil
	case kind == 7: // REG_MULTI_SZ
		return strings.ReplaceAll(strings.TrimRight(decodeUTF16(p), "\x00"), "\x00", "\n"), nil
	case kind == 4 && len(p) == 4: // REG_DWORD
		return strconv.FormatUint(uint64(binary.LittleEndian.Uint32(p)), 10), nil
	case kind == 11 && len(p) == 8: // REG_QWORD
		return strconv.FormatUint(binary.LittleEndian.Uint64(p), 10), nil
	default:
		return fmt.Sprintf("%x", p), nil
	}
}

// data returns what a value holds, as it is. Up to 4 bytes lie in the value
// itself, up to 16344 in a cell, more in several.
func (h *hive) data(vk []byte) ([]byte, error) {
	const inside = 1 << 31
	size, offset := binary.LittleEndian.Uint32(vk[4:]), binary.LittleEndian.Uint32(vk[8:])
	switch {
	case size&inside != 0 && size&^inside <= 4:
		return vk[8 : 8+size&^inside], nil
	case size > maxValue:
		return nil, fmt.Errorf("a value of %d bytes, at most %d are read", size, maxValue)
	case size == 0:
		return nil, nil
	case size <= segmentMax:
		return h.cell(offset, 0, int64(size))
	}
	return h.segments(offset, int64(size))
}

// segments returns data that lie in several cells: "db", how many, and where
// the list of them is.
func (h *hive) segments(offset uint32, size int64) ([]byte, error) {
	p, err := h.cell(offset, 0, 8)
	if err != nil {
		return nil, err
	}
	if string(p[:2]) != "db" { // hives before version 1.4 have one large cell
		return h.cell(offset, 0, size)
	}
	list, err := h.numbers(binary.LittleEndian.Uint32(p[4:]), int64(binary.LittleEndian.Uint16(p[2:])), 0, 4)
	if err != nil {
		return nil, err
	}
	var data []byte
	for _, segment := range list {
		n := min(size-int64(len(data)), segmentMax)
		part, err := h.cell(segment, 0, n)
		if err != nil {
			return nil, err
		}
		data = append(data, part...)
	}
	if int64(len(data)) != size {
		return nil, fmt.Errorf("%w: %d of %d bytes of a value", errHive, len(data), size)
	}
	return data, nil
}

// decodeUTF16 reads UTF-16; a last odd byte is passed over.
func decodeUTF16(p []byte) string {
	units := make([]uint16, len(p)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(p[2*i:])
	}
	return string(utf16.Decode(units))
}
