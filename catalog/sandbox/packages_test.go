package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// A source is what a package is built from.
type source struct {
	name, version, depends string
	files                  map[string]string
	scripts                map[string]string // postinst and the like
	conffiles              string
	triggers               string
}

// build builds a package by dpkg-deb.
func build(t testing.TB, s source) Package {
	t.Helper()
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		place := filepath.Join(dir, "p", name)
		if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(place, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	control := fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: lab <lab@example.invalid>\nDescription: for a test\n", s.name, s.version)
	if s.depends != "" {
		control += "Depends: " + s.depends + "\n"
	}
	put("DEBIAN/control", control, 0o644)
	for name, text := range s.files {
		put(name, text, 0o644)
	}
	for name, text := range s.scripts {
		put("DEBIAN/"+name, "#!/bin/sh\nset -e\n"+text+"\n", 0o755)
	}
	if s.conffiles != "" {
		put("DEBIAN/conffiles", s.conffiles, 0o644)
	}
	if s.triggers != "" {
		put("DEBIAN/triggers", s.triggers, 0o644)
	}
	file := filepath.Join(dir, "--x.deb") // a name like an option
	lab.Run(t, "dpkg-deb", "--root-owner-group", "--build", filepath.Join(dir, "p"), file)
	return Package{Path: file, Name: s.name, Version: s.version, Arch: "all"}
}

// paths returns the paths of changes outside of dpkg's own folder.
func paths(t *testing.T, o *Overlay) []string {
	t.Helper()
	var list []string
	for _, line := range changes(t, o) {
		if !strings.Contains(line, " var/lib/dpkg/") && !strings.Contains(line, " var/log/") {
			list = append(list, line)
		}
	}
	return list
}

// TestRootInstallDebs installs packages that need each other, whose scripts
// make users, start services and leave daemons, and wants their files alone.
func TestRootInstallDebs(t *testing.T) {
	dir := lab.Debian(t)
	o := over(t, dir)
	base := build(t, source{
		name: "lab-base", version: "1:1.0-1", files: map[string]string{"usr/share/lab/base": "base", "etc/lab.conf": "theirs"}, conffiles: "/etc/lab.conf\n",
		scripts: map[string]string{"postinst": `
			useradd --system --no-create-home lab
			chown lab /usr/share/lab/base
			printf '#!/bin/sh\nexec sleep 1000\n' > /etc/init.d/lab; chmod 755 /etc/init.d/lab
			invoke-rc.d lab start
			sleep 1000 > /dev/null 2>&1 &
			runuser -u lab -- id -un > /usr/share/lab/user`},
		triggers: "interest-noawait /usr/share/lab\n",
	})
	top := build(t, source{name: "lab-a-top", version: "2.0", depends: "lab-base (>= 1:1.0)", files: map[string]string{"usr/share/lab/top": "top"}})
	var lines []string
	err := InstallDebs(t.Context(), o, []Package{top, base}, PackageOptions{Line: func(l string) { lines = append(lines, l) }})
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(lines, "\n"))
	}
	got := slices.DeleteFunc(paths(t, o), func(l string) bool { return strings.Contains(l, "- was") || strings.Contains(l, ".lock ") })
	for _, want := range []string{
		"create usr/share/lab/base file 644 999:0", "create usr/share/lab/top file 644 0:0", "create etc/lab.conf file 644 0:0",
		"create etc/passwd file 644 0:0 was file", "create usr/share/lab/user file 644 0:0", "create etc/init.d/lab file 755 0:0",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("changes lack %q:\n\t%s", want, strings.Join(got, "\n\t"))
		}
	}
	if slices.ContainsFunc(got, func(l string) bool { return strings.Contains(l, "policy-rc.d") }) {
		t.Error("policy-rc.d is among the changes, want nothing of it")
	}
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.Contains(l, "policy-rc.d denied execution of start") }) {
		t.Errorf("nothing says that the service was not started:\n\t%s", strings.Join(lines, "\n\t"))
	}
	if got := sh(t, o, "cat /usr/share/lab/user"); got != "lab\n" {
		t.Errorf("the script ran as %q, want lab", got)
	}
	if got := sh(t, o, "dpkg --audit; dpkg-query -W -f '${db:Status-Abbrev}' lab-base lab-a-top"); got != "ii ii " {
		t.Errorf("dpkg says %q, want both installed and nothing to do", got)
	}
}

// TestRootInstallDebsRefuses: what dpkg would call a success is none.
func TestRootInstallDebsRefuses(t *testing.T) {
	dir := lab.Debian(t)
	old := build(t, source{name: "lab", version: "1.9", files: map[string]string{"usr/share/lab": "old"}})
	newer := build(t, source{name: "lab", version: "1.10", files: map[string]string{"usr/share/lab": "new"}})
	o := over(t, dir)
	must := func(opt PackageOptions, p ...Package) {
		t.Helper()
		if err := InstallDebs(t.Context(), o, p, opt); err != nil {
			t.Fatal(err)
		}
	}
	must(PackageOptions{}, old)
	must(PackageOptions{}, newer)
	if err := InstallDebs(t.Context(), o, []Package{old}, PackageOptions{}); !errors.Is(err, ErrDowngrade) || !strings.Contains(err.Error(), "lab 1.10, and not 1.9") {
		t.Errorf("a lower version: %v, want %v that names both", err, ErrDowngrade)
	}
	if got := sh(t, o, "cat /usr/share/lab"); got != "new" {
		t.Errorf("the file is %q, want %q", got, "new")
	}
	must(PackageOptions{AllowDowngrade: true}, old)

	var fault *PackageError
	o = over(t, dir)
	broken := build(t, source{name: "lab-broken", version: "1", scripts: map[string]string{"postinst": "echo no luck; exit 3"}})
	if err := InstallDebs(t.Context(), o, []Package{broken}, PackageOptions{}); !errors.As(err, &fault) || !strings.Contains(fault.Output, "no luck") {
		t.Errorf("a script that fails: %v, want a PackageError with what it said", err)
	}
	o = over(t, dir)
	lone := build(t, source{name: "lab-lone", version: "1", depends: "lab-none"})
	if err := InstallDebs(t.Context(), o, []Package{lone}, PackageOptions{}); !errors.As(err, &fault) {
		t.Errorf("without what it needs: %v, want a PackageError", err)
	}
	o = over(t, dir)
	other := newer
	other.Version = "1.11" // the manifest says something else than the file
	if err := InstallDebs(t.Context(), o, []Package{other}, PackageOptions{}); !errors.As(err, &fault) || !strings.Contains(err.Error(), "it has") {
		t.Errorf("another version than was said: %v, want a PackageError", err)
	}
}

// TestRootHalfConfigured: what an earlier run has left is configured first.
func TestRootHalfConfigured(t *testing.T) {
	o := over(t, lab.Debian(t))
	left := build(t, source{name: "lab-left", version: "1", scripts: map[string]string{"postinst": "echo done > /lab-left"}})
	r, err := o.Run(t.Context(), Program{Exec: []string{"dpkg", "--unpack", "/run/slipcast/files/left.deb"}, Files: []File{{"left.deb", left.Path}}})
	if err != nil || r.Code != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	next := build(t, source{name: "lab-next", version: "1", depends: "lab-left", scripts: map[string]string{"preinst": "test -e /lab-left"}})
	if err := InstallDebs(t.Context(), o, []Package{next}, PackageOptions{}); err != nil {
		t.Error(err)
	}
}

// TestRootConffiles: a configuration file that was changed on the root stays.
func TestRootConffiles(t *testing.T) {
	o := over(t, lab.Debian(t))
	pack := func(version, text string) Package {
		return build(t, source{name: "lab", version: version, files: map[string]string{"etc/lab.conf": text}, conffiles: "/etc/lab.conf\n"})
	}
	if err := InstallDebs(t.Context(), o, []Package{pack("1", "first")}, PackageOptions{}); err != nil {
		t.Fatal(err)
	}
	sh(t, o, "echo ours > /etc/lab.conf")
	if err := InstallDebs(t.Context(), o, []Package{pack("2", "second")}, PackageOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, o, "cat /etc/lab.conf"); got != "ours\n" {
		t.Errorf("the file is %q, want ours", got)
	}
}

// TestRootInstallRPMs does the same with rpm, in the same tree.
func TestRootInstallRPMs(t *testing.T) {
	dir := lab.Debian(t)
	lab.Tools(t, "rpmbuild")
	o := over(t, dir)
	first, second := buildRPM(t, "1.0"), buildRPM(t, "1.1")
	if err := InstallRPMs(t.Context(), o, []Package{first}, PackageOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := InstallRPMs(t.Context(), o, []Package{second}, PackageOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := sh(t, o, "cat /usr/share/lab-rpm /lab-script"); got != "1.1\nran\n" {
		t.Errorf("the files say %q, want 1.1 and ran", got)
	}
	var fault *PackageError
	if err := InstallRPMs(t.Context(), o, []Package{first}, PackageOptions{}); !errors.As(err, &fault) || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a lower version: %v, want a PackageError", err)
	}
	if err := InstallRPMs(t.Context(), o, []Package{first}, PackageOptions{AllowDowngrade: true}); err != nil {
		t.Error(err)
	}
}

// buildRPM builds a package by rpmbuild.
func buildRPM(t *testing.T, version string) Package {
	t.Helper()
	dir := t.TempDir()
	spec := filepath.Join(dir, "lab.spec")
	text := "Name: lab-rpm\nVersion: " + version + "\nRelease: 1\nSummary: for a test\nLicense: none\nBuildArch: noarch\nAutoReqProv: no\n%description\nnone\n" +
		"%install\nmkdir -p %{buildroot}/usr/share\necho " + version + " > %{buildroot}/usr/share/lab-rpm\n%post -p <lua>\nlocal f = io.open('/lab-script', 'w')\nf:write('ran\\n')\nf:close()\n%files\n/usr/share/lab-rpm\n"
	if err := os.WriteFile(spec, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	lab.Run(t, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+dir, "--define", "_build_id_links none", spec)
	return Package{Path: filepath.Join(dir, "RPMS/noarch/lab-rpm-"+version+"-1.noarch.rpm"), Name: "lab-rpm", Version: version + "-1", Arch: "noarch"}
}
