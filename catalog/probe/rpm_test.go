package probe

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// header makes the header of a package as rpm's database has it.
func rpmHeader(texts map[uint32]string, epoch int) []byte {
	var entries, data []byte
	entry := func(tag, kind uint32) {
		for _, n := range []uint32{tag, kind, uint32(len(data)), 1} {
			entries = binary.BigEndian.AppendUint32(entries, n)
		}
	}
	for _, tag := range []uint32{tagName, tagVersion, tagRelease, tagArch, 1044} {
		if text, ok := texts[tag]; ok {
			entry(tag, typeString)
			data = append(append(data, text...), 0)
		}
	}
	if epoch >= 0 {
		data = append(data, bytes.Repeat([]byte{0}, (4-len(data)%4)%4)...)
		entry(tagEpoch, typeInt32)
		data = binary.BigEndian.AppendUint32(data, uint32(epoch))
	}
	p := binary.BigEndian.AppendUint32(nil, uint32(len(entries)/16))
	p = binary.BigEndian.AppendUint32(p, uint32(len(data)))
	return append(append(p, entries...), data...)
}

func TestParseHeader(t *testing.T) {
	texts := map[uint32]string{tagName: "kernel", tagVersion: "5.14.0", tagRelease: "1.el9", tagArch: "x86_64", 1044: "source.rpm"}
	tests := []struct {
		epoch int
		want  string
	}{{-1, "5.14.0-1.el9"}, {0, "5.14.0-1.el9"}, {2, "2:5.14.0-1.el9"}}
	for _, tt := range tests {
		got, err := parseHeader(rpmHeader(texts, tt.epoch))
		if want := (installed{"kernel", "x86_64", tt.want}); got != want || err != nil {
			t.Errorf("epoch %d: %v, %v, want %v", tt.epoch, got, err, want)
		}
	}
	whole := rpmHeader(texts, 1)
	for n := range whole {
		if got, err := parseHeader(whole[:n]); !errors.Is(err, errHeader) {
			t.Errorf("%d of %d bytes are %v, %v, want errHeader", n, len(whole), got, err)
		}
	}
	for offset, what := range map[int]string{0: "entries", 4: "bytes", 8 + 4: "type", 8 + 8: "offset"} {
		damaged := slices.Clone(whole)
		binary.BigEndian.PutUint32(damaged[offset:], 1<<31)
		if got, err := parseHeader(damaged); !errors.Is(err, errHeader) {
			t.Errorf("with wrong %s: %v, %v, want errHeader", what, got, err)
		}
	}
}

// FuzzHeader holds that a header that is read can be written and read again.
func FuzzHeader(f *testing.F) {
	f.Add(rpmHeader(map[uint32]string{tagName: "a", tagVersion: "1", tagRelease: "2", tagArch: "noarch"}, 3))
	f.Add(rpmHeader(map[uint32]string{tagName: "gpg-pubkey", tagVersion: "0123abcd", tagRelease: "5f"}, -1))
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := parseHeader(p)
		if err != nil {
			return
		}
		again, err := parseHeader(rpmHeader(map[uint32]string{tagName: got.name, tagVersion: got.version, tagArch: got.arch}, -1))
		if err != nil || again != got {
			t.Errorf("%x is %v, and written again %v, %v", p, got, again, err)
		}
	})
}

// rpmDB makes a database by statements of SQL, and returns it as a file.
func rpmDB(t *testing.T, statements ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rpmdb.sqlite")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

func TestRPMDatabase(t *testing.T) {
	const create = `CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)`
	insert := func(name, version string) string {
		return fmt.Sprintf("INSERT INTO Packages (blob) VALUES (x'%x')", rpmHeader(map[uint32]string{tagName: name, tagVersion: version, tagRelease: "1", tagArch: "x86_64"}, -1))
	}
	const endless = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT i AS hnum, 'x' AS blob FROM n`
	tests := []struct {
		name  string // for whoever reads this
		files tree
		test  expectation
	}{
		{"several", tree{"var/lib/rpm/rpmdb.sqlite": rpmDB(t, create, insert("kernel", "5.9"), insert("bash", "5.1"), insert("kernel", "5.10"))},
			expectation{probe: "pkg|kernel", want: "5.10-1"}},
		{"other place", tree{"usr/lib/sysimage/rpm/rpmdb.sqlite": rpmDB(t, create, insert("bash", "5.1")), "var/lib/rpm": "-> ../../usr/lib/sysimage/rpm"},
			expectation{probe: "pkg|bash:x86_64", want: "5.1-1"}},
		{"none", tree{"var/lib/rpm/rpmdb.sqlite": rpmDB(t, create)}, expectation{probe: "pkg|bash", want: ""}},
		{"dpkg first", tree{"var/lib/rpm/rpmdb.sqlite": rpmDB(t, create, insert("bash", "5.1")), "var/lib/dpkg/status": status}, expectation{probe: "pkg|bash", want: "5.2.15-2+b7"}},
		{"damaged header", tree{"var/lib/rpm/rpmdb.sqlite": rpmDB(t, create, "INSERT INTO Packages (blob) VALUES (x'00')")}, expectation{probe: "pkg|bash", fault: "damaged header"}},
		{"too large", tree{"var/lib/rpm/rpmdb.sqlite": rpmDB(t, create, insert("bash", "5.1"), fmt.Sprintf("INSERT INTO Packages (blob) VALUES (zeroblob(%d))", maxHeader+1))},
			expectation{probe: "pkg|bash", fault: "more than 67108864 bytes"}},
		{"no table", tree{"var/lib/rpm/rpmdb.sqlite": rpmDB(t, "CREATE TABLE x (y)")}, expectation{probe: "pkg|bash", fault: "no table Packages"}},
		{"a view", tree{"var/lib/rpm/rpmdb.sqlite": rpmDB(t, "CREATE VIEW Packages AS "+endless)}, expectation{probe: "pkg|bash", fault: "no table Packages"}},
		{"computed", tree{"var/lib/rpm/rpmdb.sqlite": rpmDB(t, "CREATE TABLE Packages (hnum, blob AS (zeroblob(1000000000)))", "INSERT INTO Packages (hnum) VALUES (1)")},
			expectation{probe: "pkg|bash", fault: "no table Packages"}},
		{"no database", tree{"var/lib/rpm/rpmdb.sqlite": strings.Repeat("no", 4096)}, expectation{probe: "pkg|bash", fault: "not a database"}},
		{"Berkeley DB", tree{"var/lib/rpm/Packages": "x"}, expectation{probe: "pkg|bash", fault: "var/lib/rpm/Packages: a database of rpm that is not in SQLite"}},
		{"ndb", tree{"usr/lib/sysimage/rpm/Packages.db": "x"}, expectation{probe: "pkg|bash", fault: "not in SQLite"}},
		{"a directory", tree{"var/lib/rpm/rpmdb.sqlite/": ""}, expectation{probe: "pkg|bash", fault: "not a regular file"}},
	}
	t.Setenv("TMPDIR", t.TempDir())
	for _, tt := range tests {
		check(t, probesOf(t, tt.files), []expectation{tt.test})
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("%v, %v are left behind", left, err)
	}
}

// TestRootRPM compares with what rpm itself says of packages that it has
// installed, also while its last changes are not merged into the database yet.
func TestRootRPM(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "rpm", "rpmbuild")
	dir := t.TempDir()
	rpm := func(args ...string) string {
		t.Helper()
		return lab.Run(t, "rpm", append([]string{"--root", dir, "--dbpath", "/var/lib/rpm"}, args...)...)
	}
	rpm("--initdb")
	rpm("-i", "--nodeps", "--noscripts", buildRPM(t, "plain", "2:1.0~rc1", "3.el9"), buildRPM(t, "kernel", "5.9", "1"), buildRPM(t, "kernel", "5.10", "1"))
	rpm("-i", "--nodeps", "--noscripts", buildRPM(t, "removed", "1", "1"))
	rpm("-e", "removed")
	check(t, New(open(t, dir), nil), []expectation{
		{probe: "pkg|plain", want: "2:1.0~rc1-3.el9"}, {probe: "pkg|kernel", want: "5.10-1"}, {probe: "pkg|kernel:noarch", want: "5.10-1"}, {probe: "pkg|removed", want: ""},
	})
	got, err := New(open(t, dir), nil).rpms(t.Context())
	var lines []string
	for _, i := range got {
		lines = append(lines, fmt.Sprintf("%s %s %s", i.name, i.arch, i.version))
	}
	slices.Sort(lines)
	want := strings.Fields(strings.ReplaceAll(rpm("-qa", "--qf", `%{NAME}_%{ARCH}_%{EVR}\n`), " ", ""))
	slices.Sort(want)
	if strings.ReplaceAll(strings.Join(lines, "\n"), " ", "_") != strings.Join(want, "\n") || err != nil || len(want) != 3 {
		t.Errorf("got %v, %v, rpm says %v", lines, err, want)
	}

	// A writer that is there keeps the others from merging its log.
	work := filepath.Join(dir, "var/lib/rpm/rpmdb.sqlite")
	writer, err := sql.Open("sqlite", "file:"+work+"?_pragma=journal_mode(wal)&_pragma=wal_autocheckpoint(0)")
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	late := rpmHeader(map[uint32]string{tagName: "late", tagVersion: "7", tagRelease: "1", tagArch: "noarch"}, -1)
	if _, err := writer.Exec("INSERT INTO Packages (blob) VALUES (?)", late); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(work + "-wal"); err != nil || st.Size() == 0 {
		t.Fatalf("there is no log: %v", err)
	}
	check(t, New(open(t, dir), nil), []expectation{{probe: "pkg|late", want: "7-1"}})
}

// buildRPM builds an empty package. version may have an epoch.
func buildRPM(t *testing.T, name, version, release string) string {
	t.Helper()
	dir := t.TempDir()
	spec := fmt.Sprintf("Name: %s\nRelease: %s\nSummary: x\nLicense: x\nBuildArch: noarch\n", name, release)
	if epoch, rest, found := strings.Cut(version, ":"); found {
		spec += "Epoch: " + epoch + "\n"
		version = rest
	}
	lab.Plant(t, dir, tree{"x.spec": spec + "Version: " + version + "\n%description\nx\n%files\n"})
	lab.Run(t, "rpmbuild", "-bb", "--define", "_topdir "+dir, filepath.Join(dir, "x.spec"))
	files, err := filepath.Glob(filepath.Join(dir, "RPMS/noarch/*.rpm"))
	if err != nil || len(files) != 1 {
		t.Fatalf("rpmbuild made %v, %v", files, err)
	}
	return files[0]
}
