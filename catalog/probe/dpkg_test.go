package probe

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"slipcast/internal/lab"
)

const status = `Package: bash
Status: install ok installed
Priority: required
Architecture: amd64
Version: 5.2.15-2+b7
Description: GNU Bourne Again SHell
 Version: 9
 .

Package: held
Status: hold ok installed
Architecture: all
Version: 1:1.0

Package: going
Status: deinstall ok installed
architecture: amd64
VERSION: 1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 2

Package: half
Status: install ok half-configured
Architecture: amd64
Version: 2

Package: broken
Status: install reinstreq installed
Architecture: amd64
Version: 2

Package: multi
Status: install ok installed
Architecture: amd64
Version: 1.10

Package: multi
Status: install ok installed
Architecture: i386
Version: 1.9


Package: odd
Status: install ok installed
Architecture: amd64
Version: 1_0
`

func TestDpkg(t *testing.T) {
	check(t, probesOf(t, tree{"var/lib/dpkg/status": status}), []expectation{
		{probe: "pkg|bash", want: "5.2.15-2+b7"}, {probe: "pkg|bash:amd64", want: "5.2.15-2+b7"}, {probe: "pkg|bash:arm64", want: ""},
		{probe: "pkg|held", want: "1:1.0"}, {probe: "pkg|going", want: "1"}, {probe: "pkg|gone", want: ""}, {probe: "pkg|half", want: ""},
		{probe: "pkg|broken", want: ""}, {probe: "pkg|nothing", want: ""}, {probe: "pkg|multi", want: "1.10"}, {probe: "pkg|multi:i386", want: "1.9"},
		{probe: "pkg|odd", fault: `package odd: malformed version: "1_0" as deb`},
	})
	check(t, probesOf(t, tree{}), []expectation{{probe: "pkg|bash", want: ""}})
	check(t, probesOf(t, tree{"var/lib/dpkg/status/": ""}), []expectation{{probe: "pkg|bash", fault: "not a regular file"}})
	distroless := tree{
		"var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n", "var/lib/dpkg/status.d/base.md5sums": "not a stanza",
		"var/lib/dpkg/status.d/tz": "Package: tzdata\nVersion: 2026a-0",
	}
	check(t, probesOf(t, distroless), []expectation{{probe: "pkg|base-files", want: "12.4"}, {probe: "pkg|tzdata", want: "2026a-0"}, {probe: "pkg|base", want: ""}})
}

func TestParseStatusRejects(t *testing.T) {
	for _, text := range []string{
		"Package: a\nVersion: 1\n", "Status: install ok installed\n", "Package: a\nStatus: installed\n", "Package: a\nStatus: install ok installed\nno field\n",
		"Package: a\nPackage: b\nStatus: install ok installed\n", "\x00\x01\x02", "Package:\nStatus: install ok installed\n",
	} {
		if got, err := parseStatus([]byte(text), false); !errors.Is(err, errStatus) {
			t.Errorf("%q is %v, %v, want errStatus", text, got, err)
		}
	}
}

// FuzzStatus holds that what is read can be written again and read as the same.
func FuzzStatus(f *testing.F) {
	f.Add([]byte(status), false)
	f.Add([]byte("Package: a\nVersion: 1\n\nPackage: b"), true)
	f.Fuzz(func(t *testing.T, p []byte, bare bool) {
		all, err := parseStatus(p, bare)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, i := range all {
			fmt.Fprintf(&again, "Package: %s\nStatus: install ok installed\nArchitecture: %s\nVersion: %s\n\n", i.name, i.arch, i.version)
		}
		back, err := parseStatus([]byte(again.String()), bare)
		if err != nil || !slices.Equal(back, all) {
			t.Errorf("%q is %v, and written again %v, %v", p, all, back, err)
		}
	})
}

// TestRootDpkg compares with what dpkg itself says of packages that it has
// installed, held, removed and left half installed.
func TestRootDpkg(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "dpkg", "dpkg-deb", "dpkg-query")
	dir := t.TempDir()
	lab.Plant(t, dir, tree{"var/lib/dpkg/status": "", "var/lib/dpkg/info/": "", "var/lib/dpkg/updates/": "", "var/lib/dpkg/available": ""})
	dpkg := func(args ...string) {
		t.Helper()
		lab.Run(t, "dpkg", append([]string{"--root=" + dir, "--force-not-root", "--force-script-chrootless", "--log=/dev/null"}, args...)...)
	}
	dpkg("-i", buildDeb(t, "plain", "1:2.0~rc1-1+b2"), buildDeb(t, "older", "1.0"), buildDeb(t, "held", "3"), buildDeb(t, "removed", "4"))
	dpkg("-i", buildDeb(t, "older", "1.0.1-2"))
	dpkg("--unpack", buildDeb(t, "unpacked", "5"))
	dpkg("--remove", "removed")
	set := lab.Run(t, "sh", "-c", "echo held hold | dpkg --root="+dir+" --set-selections")
	p := New(open(t, dir), nil)
	check(t, p, []expectation{
		{probe: "pkg|plain", want: "1:2.0~rc1-1+b2"}, {probe: "pkg|older", want: "1.0.1-2"}, {probe: "pkg|held", want: "3"},
		{probe: "pkg|removed", want: ""}, {probe: "pkg|unpacked", want: ""},
	})
	if n := sameAsDpkg(t, p, dir); n != 3 {
		t.Errorf("dpkg-query has %d packages, want 3 (%s)", n, set)
	}
}

// TestRootDpkgOfThisSystem compares all packages of the system that the test
// runs on.
func TestRootDpkgOfThisSystem(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "dpkg-query")
	start := time.Now()
	n := sameAsDpkg(t, New(open(t, "/"), nil), "")
	t.Logf("%d packages after %v", n, time.Since(start))
	if n == 0 {
		t.Error("dpkg has installed nothing")
	}
}

// sameAsDpkg compares with what dpkg-query says of a root, and returns how many
// packages it has.
func sameAsDpkg(t *testing.T, p *Probes, dir string) int {
	t.Helper()
	var want []installed
	out := lab.Run(t, "dpkg-query", "--admindir="+dir+"/var/lib/dpkg", "-W", "-f", "${db:Status-Status} ${db:Status-Eflag} ${Package} ${Architecture} ${Version}\n")
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); f[0] == "installed" && f[1] == "ok" {
			want = append(want, installed{f[2], f[3], f[4]})
		}
	}
	got, err := p.debs()
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]installed{got, want} {
		slices.SortFunc(list, func(a, b installed) int { return strings.Compare(a.name+":"+a.arch, b.name+":"+b.arch) })
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, dpkg-query says %v", got, want)
	}
	return len(want)
}

// buildDeb builds an empty package.
func buildDeb(t *testing.T, name, version string) string {
	t.Helper()
	dir := t.TempDir()
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n Version: 99\n", name, version)
	lab.Plant(t, dir, tree{"DEBIAN/control": control, "usr/share/" + name: version})
	file := filepath.Join(t.TempDir(), name+".deb")
	lab.Run(t, "dpkg-deb", "--root-owner-group", "-Zgzip", "-b", dir, file)
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	return file
}
