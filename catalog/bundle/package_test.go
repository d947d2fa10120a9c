package bundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"slipcast/internal/lab"
)

// control is what a package says of itself.
const control = "Package: hello\nVersion: 1:2.10-3+b1\nArchitecture: amd64\nDescription: a greeting\n Version: not this one\n"

// debOf returns a package whose control.tar is packed as ending says.
func debOf(t testing.TB, ending, text string) string {
	t.Helper()
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, f := range []struct{ name, text string }{{"./md5sums", "none\n"}, {"./control", text}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Size: int64(len(f.text)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var z io.WriteCloser
	var err error
	switch ending {
	case ".gz":
		z = gzip.NewWriter(&packed)
	case ".xz":
		z, err = xz.NewWriter(&packed)
	case ".zst":
		z, err = zstd.NewWriter(&packed)
	default:
		return arOf("debian-binary", "2.0\n", "control.tar"+ending, plain.String(), "data.tar", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return arOf("debian-binary", "2.0\n", "control.tar"+ending, packed.String(), "data.tar", "")
}

// arOf returns an ar archive of members: name, data, name, data.
func arOf(members ...string) string {
	var b strings.Builder
	b.WriteString("!<arch>\n")
	for i := 0; i < len(members); i += 2 {
		name, data := members[i], members[i+1]
		fmt.Fprintf(&b, "%-16s%-12s%-6s%-6s%-8s%-10d`\n%s", name, "0", "0", "0", "100644", len(data), data)
		if len(data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func TestReadDeb(t *testing.T) {
	want := Package{Name: "hello", Version: "1:2.10-3+b1", Arch: "amd64"}
	for _, ending := range []string{"", ".gz", ".xz", ".zst"} {
		got, err := readDeb(strings.NewReader(debOf(t, ending, control)))
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v, want %+v", ending, got, err, want)
		}
	}
	signed := arOf("debian-binary", "2.0\n", "_gpgorigin", "odd", "control.tar", debOf(t, "", control)[8+60+4+60:])
	if got, err := readDeb(strings.NewReader(signed)); err != nil || got != want {
		t.Errorf("with another member: %+v, %v, want %+v", got, err, want)
	}
}

func TestReadDebRejects(t *testing.T) {
	good := debOf(t, ".gz", control)
	xzDict := []byte(debOf(t, ".xz", control))
	at := bytes.Index(xzDict, []byte("\xfd7zXZ"))
	xzDict[at+12+4] = 37 // of 1.5 GiB
	many := []string{"debian-binary", "2.0\n"}
	for range 20 {
		many = append(many, "_x", "")
	}
	tests := []struct{ name, text, want string }{
		{"empty", "", "not a Debian package"},
		{"no archive", "hello", "not a Debian package"},
		{"archive of something else", arOf("hello.o/", "x"), "it begins with"},
		{"no control", arOf("debian-binary", "2.0\n"), "without control.tar"},
		{"control far behind", arOf(many...), "without control.tar"},
		{"cut in a header", good[:100], "without control.tar"},
		{"cut in control", good[:140], "control.tar.gz: "},
		{"no end of a header", strings.Replace(good, "`\n", "xx", 1), "header of the member"},
		{"negative size", strings.Replace(good, "4         `", "-4        `", 1), "header of the member"},
		{"unknown compression", arOf("debian-binary", "2.0\n", "control.tar.lz4", "x"), "unknown compression"},
		{"not gzip", arOf("debian-binary", "2.0\n", "control.tar.gz", "hello, here is text"), "control.tar.gz: "},
		{"no file control", arOf("debian-binary", "2.0\n", "control.tar", strings.Repeat("\x00", 1024)), "there is no control"},
		{"dictionary of 1.5 GiB", string(xzDict), "a dictionary of 1610612736 bytes"},
		{"control too large", debOf(t, "", strings.Repeat("x", maxControlFile+1)), "control of 1048577 bytes"},
		{"bomb", debBomb(t), "control.tar.gz: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := readDeb(strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v, want an error with %q", p, err, tt.want)
			}
		})
	}
}

// debBomb returns a package whose control.tar has a file of 1 GiB in 1 MB before
// control.
func debBomb(t *testing.T) string {
	t.Helper()
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Size: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	for range 100 { // more than readDeb looks at
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return arOf("debian-binary", "2.0\n", "control.tar.gz", packed.String())
}

// A tag is a value in the header of an RPM package.
type tag struct {
	number, kind uint32
	value        string
}

// headerOf returns a header of an RPM package.
func headerOf(tags ...tag) string {
	var index, data []byte
	for _, g := range tags {
		for _, v := range []uint32{g.number, g.kind, uint32(len(data)), 1} {
			index = binary.BigEndian.AppendUint32(index, v)
		}
		data = append(data, g.value...)
	}
	head := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	head = binary.BigEndian.AppendUint32(head, uint32(len(tags)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(data)))
	return string(head) + string(index) + string(data)
}

// rpmOf returns an RPM package with these headers.
func rpmOf(signatures, header string) string {
	s := "\xed\xab\xee\xdb\x03" + strings.Repeat("\x00", 91) + signatures
	for len(s)%8 != 0 {
		s += "\x00"
	}
	return s + header + "payload"
}

// rpmTagsOf returns the tags of a right package, with changes.
func rpmTagsOf(change ...tag) []tag {
	tags := []tag{
		{tagName, rpmString, "hello\x00"}, {tagVersion, rpmString, "2.10\x00"}, {tagRelease, rpmString, "3.el9\x00"},
		{tagEpoch, rpmInt32, "\x00\x00\x00\x01"}, {tagArch, rpmString, "x86_64\x00"}, {tagSource, rpmString, "hello.src.rpm\x00"},
	}
	return append(change, tags...)
}

func TestReadRPM(t *testing.T) {
	text := rpmOf(headerOf(tag{1, rpmString, "odd\x00"}), headerOf(rpmTagsOf()...))
	got, err := readRPM(strings.NewReader(text), int64(len(text)))
	if want := (Package{Name: "hello", Version: "1:2.10-3.el9", Arch: "x86_64"}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestReadRPMRejects(t *testing.T) {
	good := rpmOf(headerOf(), headerOf(rpmTagsOf()...))
	at := rpmLead + rpmHeader // of the second header
	put := func(off int, value uint32) string {
		p := []byte(good)
		binary.BigEndian.PutUint32(p[off:], value)
		return string(p)
	}
	tests := []struct{ name, text, want string }{
		{"empty", "", "not an RPM package"},
		{"something else", "hello", "not an RPM package"},
		{"lead alone", good[:rpmLead], "signatures: ends early"},
		{"cut in the header", good[:at+40], "header: ends early"},
		{"cut in the data", good[:len(good)-20], "header: ends early"},
		{"magic", put(at, 1), "header: begins with"},
		{"4 billion tags", put(at+8, 1<<32-1), "header: 4294967295 tags"},
		{"4 GiB of data", put(at+12, 1<<32-1), "header: 6 tags and 4294967295 bytes"},
		{"more data than there is", put(at+12, 1<<20), "header: ends early"},
		{"source package", rpmOf(headerOf(), headerOf(rpmTagsOf()[:5]...)), "a source package"},
		{"text that does not end", rpmOf(headerOf(), headerOf(append(rpmTagsOf()[1:], tag{tagName, rpmString, "hello"})...)), "does not end"},
		{"epoch outside", rpmOf(headerOf(), headerOf(append(rpmTagsOf()[4:], tag{tagEpoch, rpmInt32, "x"})...)), "epoch lies outside"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := readRPM(strings.NewReader(tt.text), int64(len(tt.text)))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%+v, %v, want an error with %q", p, err, tt.want)
			}
		})
	}
}

// What dpkg-deb and rpmbuild make is read, and goes into a bundle.
func TestRealPackages(t *testing.T) {
	lab.Tools(t, "dpkg-deb", "rpmbuild")
	dir := t.TempDir()
	for _, z := range []string{"gzip", "xz", "zstd", "none"} {
		plant(t, filepath.Join(dir, "deb", "DEBIAN", "control"), "control", "Package: hello-"+z+"\nVersion: 1:2.10-3\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n")
		if err := os.MkdirAll(filepath.Join(dir, "d"), 0o777); err != nil {
			t.Fatal(err)
		}
		lab.Run(t, "dpkg-deb", "--root-owner-group", "--uniform-compression", "-Z"+z, "--build", filepath.Join(dir, "deb"), filepath.Join(dir, "d", z+".deb"))
	}
	plant(t, filepath.Join(dir, "hello.spec"), "hello.spec", "Name: hello\nEpoch: 2\nVersion: 2.10\nRelease: 3\nSummary: x\nLicense: x\nBuildArch: noarch\n%description\nx\n%files\n")
	lab.Run(t, "rpmbuild", "-bb", "--define", "_topdir "+dir+"/rpm", "--define", "_rpmdir "+dir+"/r", filepath.Join(dir, "hello.spec"))

	plant(t, filepath.Join(dir, "d", yamlName), yamlName, head+"payload:\n  - deb: '*.deb'\n")
	_, m := built(t, filepath.Join(dir, "d"))
	var got []string
	for _, p := range m.Payload[0].Deb {
		got = append(got, p.File+" "+p.Name+" "+p.Version+" "+p.Arch)
	}
	want := "gzip.deb hello-gzip 1:2.10-3 all, none.deb hello-none 1:2.10-3 all, xz.deb hello-xz 1:2.10-3 all, zstd.deb hello-zstd 1:2.10-3 all"
	if strings.Join(got, ", ") != want {
		t.Errorf("debs %s, want %s", strings.Join(got, ", "), want)
	}
	plant(t, filepath.Join(dir, "r", yamlName), yamlName, head+"payload:\n  - rpm: ['*/*.rpm']\n")
	_, m = built(t, filepath.Join(dir, "r"))
	if p := m.Payload[0].RPM[0]; p.Name != "hello" || p.Version != "2:2.10-3" || p.Arch != "noarch" {
		t.Errorf("rpm %+v, want hello 2:2.10-3 noarch", p)
	}
}
