package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// A hostile is a file that must be refused, and a part of the sentence that
// says why.
type hostile struct {
	name string
	file []byte
	want string
}

const contents = "all that the reader reads"

// TestHostileFiles shows that every file that is not exactly what section 4
// says is refused, and why.
func TestHostileFiles(t *testing.T) {
	var all []hostile
	all = append(all, hostileStreams(t)...)
	all = append(all, hostileTars(t)...)
	all = append(all, hostileTables(t)...)
	all = append(all, hostileFrames(t)...)
	for _, h := range all {
		t.Run(h.name, func(t *testing.T) {
			err := check(t, h.file)
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotBundle) {
				t.Fatalf("err = %v, want ErrDamaged or ErrNotBundle", err)
			}
			if !strings.Contains(err.Error(), h.want) {
				t.Errorf("err = %v, want one with %q", err, h.want)
			}
		})
	}
	if err := check(t, seekable(t, goodStream(t))); err != nil {
		t.Errorf("the bundle that all of these are made of: %v", err)
	}
	t.Logf("%d files", len(all))
}

// goodStream returns the stream of a bundle that breaks no rule.
func goodStream(t testing.TB) string {
	return member(manifestName, encoded(t, sample(contents))) + member("data/0", contents) + end
}

// hostileStreams are streams of members that are ours, but not right together.
func hostileStreams(t *testing.T) []hostile {
	raw := encoded(t, sample(contents))
	first, data := member(manifestName, raw), member("data/0", contents)
	flipped := strings.Replace(data, "reader", "Reader", 1)
	paddingUsed := data[:len(data)-1] + "x"
	two := sample(contents)
	two.Payload[0].Overlay.Entries = append(two.Payload[0].Overlay.Entries, Entry{Path: "usr/bin/second", Type: RegularFile, Data: 1})
	two.Files = filesOf(contents, "second")
	both := member(manifestName, encoded(t, two))
	cases := []struct{ name, stream, want string }{
		{"nothing", "", "does not begin like a zstd file"},
		{"no manifest", data + end, "does not begin with manifest.json"},
		{"manifest second", data + first + end, "does not begin with manifest.json"},
		{"manifest alone", first, "the manifest makes it"},
		{"contents missing", first + end, "the manifest makes it"},
		{"contents flipped", first + flipped + end, "data/0: digest mismatch"},
		{"contents too short", first + member("data/0", contents[1:]) + end, "header of data/0"},
		{"contents too long", first + member("data/0", contents+"!") + end, "header of data/0"},
		{"contents of another size, blocks alike", first + member("data/0", contents[:9]) + end, "header of data/0"},
		{"contents longer by blocks", first + member("data/0", contents+strings.Repeat("x", 1024)) + end, "the manifest makes it"},
		{"contents twice", first + data + data + end, "the manifest makes it"},
		{"another member", first + data + member("data/1", "more") + end, "the manifest makes it"},
		{"contents out of order", both + member("data/1", "second") + member("data/0", contents) + end, "header of data/0"},
		{"contents swapped", both + member("data/0", "second") + member("data/1", contents) + end, "header of data/0"},
		{"wrong name", first + member("data/7", contents) + end, "header of data/0"},
		{"name with zeros before", first + member("data/00", contents) + end, "header of data/0"},
		{"name that leads out", first + member("../data/0", contents) + end, "header of data/0"},
		{"absolute name", first + member("/data/0", contents) + end, "header of data/0"},
		{"manifest with a path", member("./"+manifestName, raw) + data + end, "does not begin with manifest.json"},
		{"manifest in upper case", member("MANIFEST.JSON", raw) + data + end, "does not begin with manifest.json"},
		{"padding used", first + paddingUsed + end, "padding of data/0"},
		{"padding of the manifest used", first[:len(first)-1] + "x" + data + end, "padding of manifest.json"},
		{"no end", first + data, "the manifest makes it"},
		{"half an end", first + data + end[:tarBlock], "the manifest makes it"},
		{"end is not zeros", first + data + end[:tarEnd-1] + "x", "padding of end"},
		{"zeros behind the end", first + data + end + end, "the manifest makes it"},
		{"garbage behind the end", first + data + end + strings.Repeat("x", 512), "the manifest makes it"},
		{"another archive behind the end", first + data + end + first + data + end, "the manifest makes it"},
		{"empty manifest", member(manifestName, "") + end, "ends early"},
		{"manifest that ends early", member(manifestName, raw[:40]) + data + end, "ends early"},
		{"manifest that is no JSON", member(manifestName, "schema: 1\n") + data + end, "invalid character"},
		{"another manifest", member(manifestName, raw+raw) + data + end, "something follows"},
	}
	var list []hostile
	for _, c := range cases {
		list = append(list, hostile{c.name, seekable(t, c.stream), c.want})
	}
	return list
}

// hostileTars are headers that tar knows, but bundles do not.
func hostileTars(t *testing.T) []hostile {
	raw := encoded(t, sample(contents))
	first := member(manifestName, raw)
	good := tar.Header{Name: "data/0", Size: int64(len(contents)), Mode: 0o644, Typeflag: tar.TypeReg}
	var list []hostile
	for _, c := range []struct {
		name, want string
		change     func(h *tar.Header)
	}{
		{"mode", "header of data/0", func(h *tar.Header) { h.Mode = 0o4755 }},
		{"owner", "header of data/0", func(h *tar.Header) { h.Uid = 1000 }},
		{"owner's name", "header of data/0", func(h *tar.Header) { h.Uname = "root" }},
		{"time", "header of data/0", func(h *tar.Header) { h.ModTime = h.ModTime.AddDate(2026, 0, 0) }},
		{"symbolic link to outside", "the manifest makes it", func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, "/etc/passwd", 0 }},
		{"hard link to outside", "the manifest makes it", func(h *tar.Header) { h.Typeflag, h.Linkname, h.Size = tar.TypeLink, "../../etc/passwd", 0 }},
		{"device", "the manifest makes it", func(h *tar.Header) { h.Typeflag, h.Devmajor, h.Devminor, h.Size = tar.TypeBlock, 8, 0, 0 }},
		{"pipe", "the manifest makes it", func(h *tar.Header) { h.Typeflag, h.Size = tar.TypeFifo, 0 }},
		{"pax header", "the manifest makes it", func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.x": "y"} }},
		{"pax header of 1 MB", "the manifest makes it", func(h *tar.Header) {
			h.PAXRecords = map[string]string{"comment": strings.Repeat("x", 1e6-100)}
		}},
		{"pax path", "the manifest makes it", func(h *tar.Header) { h.Name = "../../etc/pässwd" }},
		{"long name", "the manifest makes it", func(h *tar.Header) { h.Format, h.Name = tar.FormatGNU, strings.Repeat("d/", 80)+"0" }},
	} {
		h := good
		c.change(&h)
		list = append(list, hostile{"tar: " + c.name, seekable(t, first+tarred(t, &h, contents)+end), c.want})
	}
	gnu := good
	gnu.Format = tar.FormatGNU
	list = append(list, hostile{"tar: GNU header", seekable(t, first+tarred(t, &gnu, contents)+end), "header of data/0"})

	huge := []byte(goodStream(t))
	copy(huge[124:], "77777777777")
	list = append(list, hostile{"tar: manifest of 8 GiB", seekable(t, string(huge)), "at most 67108864"})
	lying := []byte(goodStream(t))
	copy(lying[124:], "00000400000")
	list = append(list, hostile{"tar: manifest whose header has the wrong sum", seekable(t, string(lying)), "header of manifest.json"})
	binarySize := []byte(goodStream(t))
	copy(binarySize[124:], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")
	list = append(list, hostile{"tar: size in base 256", seekable(t, string(binarySize)), "at most 67108864"})
	short := tarHeader(manifestName, 1<<20)
	list = append(list, hostile{"tar: manifest longer than the stream", seekable(t, string(short)+end), "ends early"})
	return list
}

// tarred returns a member that is written as h says.
func tarred(t *testing.T, h *tar.Header, contents string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(h)
	if err == nil && h.Size > 0 {
		_, err = w.Write([]byte(contents))
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// hostileTables are seek tables that lie. The good file has one frame.
func hostileTables(t *testing.T) []hostile {
	good := seekable(t, goodStream(t))
	table := len(good) - seekFooterSize - seekEntrySize - skippableSize
	le := binary.LittleEndian
	packed, length := le.Uint32(good[table+8:]), le.Uint32(good[table+12:])
	put := func(off int, values ...uint32) []byte {
		p := bytes.Clone(good)
		for i, v := range values {
			le.PutUint32(p[off+4*i:], v)
		}
		return p
	}
	descriptor := bytes.Clone(good)
	descriptor[len(good)-5] = 0xff
	first := seekable(t, strings.Repeat("x", 100))
	first = first[:len(first)-skippableSize-seekEntrySize-seekFooterSize]
	return []hostile{
		{"table: no bytes at all", nil, "0 bytes are too few"},
		{"table: cut off", good[:table], "no seek table"},
		{"table: half of it", good[:len(good)-6], "no seek table"},
		{"table: garbage behind it", append(bytes.Clone(good), "garbage"...), "no seek table"},
		{"table: garbage before it", bytes.Join([][]byte{good[:table], []byte("garbage"), good[table:]}, nil), "before it"},
		{"table: frame that it does not name", bytes.Join([][]byte{good[:table], first, good[table:]}, nil), "before it"},
		{"table: frame before the first", bytes.Join([][]byte{first, good}, nil), "before it"},
		{"table: descriptor", descriptor, "descriptor 0xff"},
		{"table: magic", put(table, 0x184d2a5f), "begins with"},
		{"table: its own size", put(table+4, 1000), "begins with"},
		{"table: no frames", put(len(good)-9, 0), "0 frames"},
		{"table: two frames", put(len(good)-9, 2), "begins with"},
		{"table: 4 billion frames", put(len(good)-9, 1<<32-1), "4294967295 frames"},
		{"table: more frames than the file has bytes", put(len(good)-9, uint32(len(good)/4)), "frames in a file of"},
		{"table: frame too long by one", put(table+8, packed+1), "before it"},
		{"table: frame too short by one", put(table+8, packed-1), "before it"},
		{"table: frame of 4 GiB", put(table+8, 1<<32-1), "frame 0 of 4294967295"},
		{"table: frame of no bytes", put(table+8, 0), "frame 0 of 0"},
		{"table: holds too much", put(table+12, length+1), "holds"},
		{"table: holds too little", put(table+12, length-512), "frame 0"},
		{"table: holds 4 GiB", put(table+12, 1<<32-1), "for 4294967295"},
		{"table: holds nothing", put(table+12, 0), "for 0"},
		{"table: wrong sum", put(table+16, 1), "do not have the sum"},
	}
}

// hostileFrames are files whose table is right, but whose frames are not.
func hostileFrames(t *testing.T) []hostile {
	stream := []byte(goodStream(t))
	enc, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	good := enc.EncodeAll(stream, nil)
	zeros := enc.EncodeAll(make([]byte, 64<<20), nil)
	bomb := runs(250_000, 128<<10) // 32 GiB in 1 MB
	skippable := binary.LittleEndian.AppendUint32(nil, skippableMagic)
	skippable = append(binary.LittleEndian.AppendUint32(skippable, 4), "hide"...)
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 0x40
	cut := good[:len(good)-7]
	tabled := func(p []byte) []byte {
		return appendSeekTable(bytes.Clone(p), []frame{{uint32(len(p)), uint32(len(stream)), checksum(stream)}})
	}
	return []hostile{
		{"frame: bomb", appendSeekTable(bytes.Clone(bomb), []frame{{uint32(len(bomb)), frameSize, 0}}), "frame 0"},
		{"frame: small bomb", tabled(runs(40, 128<<10)), "frame 0"},
		{"frame: blocks of 2 MiB", tabled(runs(40, 1<<21-1)), "frame 0"},
		{"frame: bomb that says its size", appendSeekTable(bytes.Clone(zeros), []frame{{uint32(len(zeros)), frameSize, 0}}), "frame 0"},
		{"frame: not zstd", tabled(append([]byte{0x28, 0xb5, 0x2f, 0xfd}, strings.Repeat("x", 40)...)), "frame 0"},
		{"frame: bit flipped", tabled(flipped), "frame 0"},
		{"frame: cut", tabled(cut), "frame 0"},
		{"frame: two in one", tabled(append(bytes.Clone(good), enc.EncodeAll([]byte("more"), nil)...)), "its blocks take"},
		{"frame: hidden behind one", tabled(append(bytes.Clone(good), skippable...)), "its blocks take"},
		{"frame: hidden before one", append(bytes.Clone(skippable), tabled(good)...), "does not begin like"},
	}
}

// runs returns a frame without a content size of n blocks that are one byte
// each, and say that it stands for size zeros.
func runs(n, size int) []byte {
	p := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x50} // window of 1 MiB
	for i := range n {
		h := size<<3 | 1<<1
		if i == n-1 {
			h |= 1
		}
		p = append(p, byte(h), byte(h>>8), byte(h>>16), 0)
	}
	return p
}
