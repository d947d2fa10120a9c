package bundle

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

// full returns a manifest that has everything a manifest of Linux can have.
func full() *Manifest {
	m := &Manifest{
		Header: Header{
			Schema: 1, Name: "reader", Track: "stable", Version: "9.3.0", Scheme: "dotted", Release: 2,
			Title: "Reader <9.3> & friends", Severity: Critical, Kind: App, Advisories: []string{"APSB10-02", "CVE-2009-3953"},
			Family: Linux, Applies: `distro() == "debian" && arch() == "x64"`,
			Requires:   []Reference{{"vcredist", ">=14"}, {"fonts/western", ""}},
			From:       []From{{Nothing: true}, {Range: ">=9.2 <9.3"}},
			Supersedes: []Reference{{"reader/stable", "<9.3"}},
			Conflicts:  []Reference{{"reader-lite", ""}},
			Detect:     Detect{Version: `ini("/etc/reader.ini", "about", "version")`, Present: `exists("/usr/bin/reader")`},
			Reboot:     Deferred, Rollback: Files,
			Params: []Param{
				{Name: "host", Machine: "name"},
				{Name: "key", Title: "Licence key", Secret: true},
				{Name: "server", Default: "licence.example\nother.example"},
			},
			Needs:   Needs{Bytes: 210 << 20, Inodes: 900, Commands: []string{"sh"}},
			Machine: true,
		},
		Allow: []string{SetUID},
		Payload: []Payload{
			{Overlay: &Overlay{
				Entries: []Entry{
					{Path: "etc/reader.conf", Type: RegularFile, Mode: 0o640, GID: 7, Expand: true},
					{Path: "opt/reader", Type: Directory, Mode: 0o1777, UID: 7, GID: 7},
					{Path: "opt/reader/a", Type: RegularFile, Mode: 0o4755, Data: 1, Xattrs: []Xattr{{"security.capability", []byte{1, 0, 255}}, {"user.empty", nil}}},
					{Path: "opt/reader/b", Type: Hardlink, Link: "opt/reader/a"},
					{Path: "opt/reader/link", Type: Symlink, Link: "../../etc/reader.conf"},
				},
				Delete: []string{"opt/old", "usr/bin/old"},
			}},
			{Deb: []Package{{Data: 2, File: "hello_1_amd64.deb", Name: "hello", Version: "1:2.10-3", Arch: "amd64"}}},
			{Line: &Line{Path: "etc/hosts", Match: "^127", Line: "127.0.0.1 localhost", After: "^#", Create: true}},
			{Line: &Line{Path: "etc/hosts", Match: "bad", Absent: true}},
			{Ini: &Ini{Path: "etc/app.ini", Section: "main", Key: "server", Value: "x = y"}},
		},
		Run: []Run{
			{Phase: Pre, Exec: []string{"check.sh", "--server={{server}}"}, Scripts: []Script{{"check.sh", 0o755, 3}}, Timeout: 60, OK: []int{0}},
			{Phase: FirstBoot, Exec: []string{"/bin/true"}, Timeout: 1, OK: []int{0, 3}, Reboot: []int{4}, Retry: NoRun},
		},
		Files: filesOf("conf {{server}}", "program", "package", "#!/bin/sh"),
	}
	return m
}

// windowsManifest returns a manifest for a Windows.
func windowsManifest() *Manifest {
	return &Manifest{
		Header: Header{Schema: 1, Name: "reader", Version: "9.3.0.148", Scheme: "windows", Release: 1, Family: Windows},
		Payload: []Payload{{Overlay: &Overlay{Entries: []Entry{
			{Path: "Program Files/Reader/reader.exe", Type: RegularFile, Mode: 0o755},
			{Path: "Program Files/Reader/reader.ini", Type: RegularFile, Mode: 0o644},
		}}}},
		Run:   []Run{{Phase: FirstBoot, Exec: []string{"setup.exe", "/S"}, Scripts: []Script{{"setup.exe", 0o755, 0}}, Timeout: 600, OK: []int{0}, Reboot: []int{1641, 3010}}},
		Files: filesOf("MZ"),
	}
}

// A manifest that breaks no rule can be encoded, and decodes to itself.
func TestEncode(t *testing.T) {
	for _, m := range []*Manifest{full(), windowsManifest(), sample("")} {
		p, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeManifest(p)
		if err != nil {
			t.Fatalf("%v\n%s", err, p)
		}
		q, err := again.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p, q) {
			t.Errorf("encoded again:\n%s, want\n%s", q, p)
		}
		if strings.Contains(string(p), `\u00`) {
			t.Errorf("HTML is escaped: %s", p)
		}
	}
}

// TestRules changes one thing at a time in a manifest that is right.
func TestRules(t *testing.T) {
	file := func(m *Manifest) *Entry { return &m.Payload[0].Overlay.Entries[2] }
	paths := func(path string) func(*Manifest) {
		return func(m *Manifest) { m.Payload[0].Overlay.Entries = []Entry{{Path: path, Type: Directory}} }
	}
	tests := []struct {
		name, want string
		change     func(m *Manifest)
	}{
		{"schema", "schema: 2, want 1", func(m *Manifest) { m.Schema = 2 }},
		{"no name", `name: name ""`, func(m *Manifest) { m.Name = "" }},
		{"name in upper case", `name: name "Reader"`, func(m *Manifest) { m.Name = "Reader" }},
		{"name too long", `name: name "rrr`, func(m *Manifest) { m.Name = strings.Repeat("r", 65) }},
		{"name that is a path", `name: name "../x"`, func(m *Manifest) { m.Name = "../x" }},
		{"name with a line feed", `name: name "x\n"`, func(m *Manifest) { m.Name = "x\n" }},
		{"track", `track: name "-"`, func(m *Manifest) { m.Track = "-" }},
		{"scheme", `scheme: "calver", want deb, rpm`, func(m *Manifest) { m.Scheme = "calver" }},
		{"version", "version: ", func(m *Manifest) { m.Version = "nine" }},
		{"version with a slash", "version: ", func(m *Manifest) { m.Version, m.Scheme = "1/2", "rpm" }},
		{"version too long", "version: ", func(m *Manifest) { m.Version = strings.Repeat("1", 257) }},
		{"release 0", "release: 0, want 1 to 2147483647", func(m *Manifest) { m.Release = 0 }},
		{"release too high", "release: 2147483648", func(m *Manifest) { m.Release = 1 << 31 }},
		{"title of two lines", "title: ", func(m *Manifest) { m.Title = "a\nb" }},
		{"title too long", "title: 201 bytes", func(m *Manifest) { m.Title = strings.Repeat("x", 201) }},
		{"title that colours the terminal", "control character U+001B", func(m *Manifest) { m.Title = "\x1b[31m" }},
		{"title that is not UTF-8", "not UTF-8", func(m *Manifest) { m.Title = "\xff" }},
		{"severity", `severity: "high", want critical, important, moderate or low`, func(m *Manifest) { m.Severity = "high" }},
		{"kind", `kind: "fix", want`, func(m *Manifest) { m.Kind = "fix" }},
		{"advisory", `advisories[1]: "a b" has a blank`, func(m *Manifest) { m.Advisories[1] = "a b" }},
		{"too many advisories", "advisories: 1001 of them", func(m *Manifest) { m.Advisories = make([]string, 1001) }},
		{"family", `family: "bsd", want linux or windows`, func(m *Manifest) { m.Family = "bsd" }},
		{"applies", "applies: ", func(m *Manifest) { m.Applies = "distro() ==" }},
		{"applies with an unknown probe", "applies: ", func(m *Manifest) { m.Applies = `format("c:")` }},
		{"detect.version is no text", "detect.version: ", func(m *Manifest) { m.Detect.Version = `exists("/x")` }},
		{"detect.present is no truth", "detect.present: ", func(m *Manifest) { m.Detect.Present = `arch()` }},
		{"requires itself", "requires[0]: reader/stable is this product itself", func(m *Manifest) { m.Requires[0].Product = "reader/stable" }},
		{"requires a range of no scheme", "requires[0].range: ", func(m *Manifest) { m.Requires[0].Range = "about 9" }},
		{"conflicts with no name", "conflicts[0].product: ", func(m *Manifest) { m.Conflicts[0].Product = "" }},
		{"supersedes a range of another scheme", "supersedes[0].range: ", func(m *Manifest) { m.Supersedes[0].Range = "<nine" }},
		{"from both", "upgrades_from[0]: want either", func(m *Manifest) { m.From[0].Range = "<9" }},
		{"from neither", "upgrades_from[0]: want either", func(m *Manifest) { m.From[0] = From{} }},
		{"from a range", "upgrades_from[1].range: ", func(m *Manifest) { m.From[1].Range = "9.2 - 9.3" }},
		{"reboot", "reboot: ", func(m *Manifest) { m.Reboot = "now" }},
		{"rollback", "rollback: ", func(m *Manifest) { m.Rollback = "script" }},
		{"param name", "params[0].name: ", func(m *Manifest) { m.Params[0].Name = "1x" }},
		{"params out of order", `params: "key" after "server"`, func(m *Manifest) { m.Params[0], m.Params[2] = m.Params[2], m.Params[0] }},
		{"param twice", `params: "key" after "key"`, func(m *Manifest) { m.Params[2].Name = "key" }},
		{"secret with a default", "params[1].default: ", func(m *Manifest) { m.Params[1].Default = "s3cret" }},
		{"param of the machine", "params[0].machine: ", func(m *Manifest) { m.Params[0].Machine = "ip" }},
		{"needs", "needs: -1 bytes", func(m *Manifest) { m.Needs.Bytes = -1 }},
		{"needs a command by path", "needs.commands[0]: ", func(m *Manifest) { m.Needs.Commands[0] = "/bin/sh" }},
		{"not for a machine, but it is", "machine_specific: false, but", func(m *Manifest) { m.Machine = false }},
		{"allow", "allow: ", func(m *Manifest) { m.Allow = []string{"everything"} }},
		{"collection that does something", "kind: a collection has", func(m *Manifest) { m.Kind = Collection }},
		{"nothing to do", "kind: a bundle with neither", func(m *Manifest) { m.Payload, m.Run, m.Files = nil, nil, nil }},
		{"payload of nothing", "payload[3]: has 0 of", func(m *Manifest) { m.Payload[3] = Payload{} }},
		{"payload of two", "payload[3]: has 2 of", func(m *Manifest) { m.Payload[3].Ini = m.Payload[4].Ini }},
		{"too many payloads", "payload: 1001 of them", func(m *Manifest) { m.Payload = make([]Payload, 1001) }},
		{"deb and rpm", "payload: both deb and rpm", func(m *Manifest) {
			m.Payload = append(m.Payload, Payload{RPM: []Package{{Data: 2, File: "x.rpm", Name: "x", Version: "1-1", Arch: "noarch"}}})
		}},
		{"package twice", "payload: package hello of amd64 is there twice", func(m *Manifest) { m.Payload[1].Deb = append(m.Payload[1].Deb, m.Payload[1].Deb[0]) }},
		{"package name", "payload[1].deb[0].name: ", func(m *Manifest) { m.Payload[1].Deb[0].Name = "-rf" }},
		{"package version", "payload[1].deb[0].version: ", func(m *Manifest) { m.Payload[1].Deb[0].Version = "x y" }},
		{"package arch", "payload[1].deb[0].arch: ", func(m *Manifest) { m.Payload[1].Deb[0].Arch = "" }},
		{"package file that is an option", "payload[1].deb[0].file: ", func(m *Manifest) { m.Payload[1].Deb[0].File = "--force.deb" }},
		{"package file that is a path", "payload[1].deb[0].file: ", func(m *Manifest) { m.Payload[1].Deb[0].File = "../x.deb" }},
		{"package file of another kind", "payload[1].deb[0].file: ", func(m *Manifest) { m.Payload[1].Deb[0].File = "x.rpm" }},

		{"overlay of nothing", "payload[0].overlay: neither", func(m *Manifest) { m.Payload[0].Overlay = &Overlay{} }},
		{"no path", "path: is missing", paths("")},
		{"absolute path", `"/etc" is absolute`, paths("/etc")},
		{"path with ..", `it has ".." in it`, paths("etc/../../x")},
		{"path that is ..", `it has ".." in it`, paths("..")},
		{"path with .", `it has "." in it`, paths("./etc")},
		{"path that is the root", `it has "." in it`, paths(".")},
		{"path with an empty name", `it has "" in it`, paths("etc//x")},
		{"path that ends in a slash", `it has "" in it`, paths("etc/")},
		{"path with NUL", "control character U+0000", paths("etc/x\x00y")},
		{"path with a line feed", "more than one line", paths("etc/x\ny")},
		{"path with an escape", "control character U+001B", paths("etc/\x1b[2J")},
		{"path with a tab", "tab", paths("etc/\tx")},
		{"path that is not UTF-8", "not UTF-8", paths("etc/\xff")},
		{"path too long", "path of 4097 bytes", paths(strings.Repeat("x/", 2048) + "x")},
		{"name too long", "a name of 256 bytes", paths("etc/" + strings.Repeat("x", 256))},
		{"path too deep", "65 folders deep", paths(strings.Repeat("x/", 64) + "x")},
		{"our own state", "where slipcast keeps", paths("var/lib/slipcast/receipts")},
		{"our own stage", "where slipcast keeps", paths(".slipcast/00000001")},
		{"entries out of order", `"a" after "b"`, func(m *Manifest) {
			m.Payload[0].Overlay.Entries = []Entry{{Path: "b", Type: Directory}, {Path: "a", Type: Directory}}
		}},
		{"entry twice", `"a" after "a"`, func(m *Manifest) {
			m.Payload[0].Overlay.Entries = []Entry{{Path: "a", Type: Directory}, {Path: "a", Type: Directory}}
		}},
		{"entry below a file", `"opt/reader/a/x" lies below "opt/reader/a"`, func(m *Manifest) {
			o := m.Payload[0].Overlay
			o.Entries = append(o.Entries[:3:3], Entry{Path: "opt/reader/a/x", Type: Directory})
		}},
		{"entry below a link of another overlay", `"opt/reader/link/x" lies below "opt/reader/link"`, func(m *Manifest) {
			m.Payload = append(m.Payload, Payload{Overlay: &Overlay{Entries: []Entry{{Path: "opt/reader/link/x", Type: Directory}}}})
		}},
		{"entry in two overlays", `"opt/reader" is there twice`, func(m *Manifest) {
			m.Payload = append(m.Payload, Payload{Overlay: &Overlay{Entries: []Entry{{Path: "opt/reader", Type: Directory}}}})
		}},
		{"deleted and laid", `"opt/reader/a" is there twice`, func(m *Manifest) { m.Payload[0].Overlay.Delete = []string{"opt/reader/a"} }},
		{"laid below what is deleted", `lies below "opt"`, func(m *Manifest) { m.Payload[0].Overlay.Delete = []string{"opt"} }},
		{"deleted below what is deleted", `lies below "opt/old"`, func(m *Manifest) { m.Payload[0].Overlay.Delete = []string{"opt/old", "opt/old/x"} }},
		{"deletions out of order", "delete: ", func(m *Manifest) { m.Payload[0].Overlay.Delete = []string{"b", "a"} }},
		{"deletes what leads out", "delete[0]: ", func(m *Manifest) { m.Payload[0].Overlay.Delete = []string{"../etc"} }},
		{"line in a file that is laid", `"etc/reader.conf" is there twice`, func(m *Manifest) { m.Payload[2].Line.Path = "etc/reader.conf" }},
		{"type", `type "fifo", want file, dir, symlink or hardlink`, func(m *Manifest) { file(m).Type = "fifo" }},
		{"device", `type "char"`, func(m *Manifest) { file(m).Type = "char" }},
		{"file with a link", "has fields that a file does not have", func(m *Manifest) { file(m).Link = "x" }},
		{"directory with contents", "has fields that a dir does not have", func(m *Manifest) { m.Payload[0].Overlay.Entries[1].Data = 1 }},
		{"symlink with a mode", "has fields that a symlink does not have", func(m *Manifest) { m.Payload[0].Overlay.Entries[4].Mode = 0o777 }},
		{"user that no file can have", "owner 4294967295:0, want numbers below 4294967295", func(m *Manifest) { file(m).UID = 1<<32 - 1 }},
		{"group that no file can have", "owner 0:4294967295, want numbers below 4294967295", func(m *Manifest) { m.Payload[0].Overlay.Entries[4].GID = 1<<32 - 1 }},
		{"hardlink with an owner", "has fields that a hardlink does not have", func(m *Manifest) { m.Payload[0].Overlay.Entries[3].UID = 1 }},
		{"negative contents", "has fields", func(m *Manifest) { file(m).Data = -1 }},
		{"symlink to nothing", "link to nothing", func(m *Manifest) { m.Payload[0].Overlay.Entries[4].Link = "" }},
		{"symlink that leads out", "leads out of the root", func(m *Manifest) { m.Payload[0].Overlay.Entries[4].Link = "../../../etc/passwd" }},
		{"absolute symlink that leads out", "leads out of the root", func(m *Manifest) { m.Payload[0].Overlay.Entries[4].Link = "/../etc/passwd" }},
		{"symlink that leads out and back", "leads out of the root", func(m *Manifest) { m.Payload[0].Overlay.Entries[4].Link = "a/../../../../opt" }},
		{"symlink too long", "a link of 4096 bytes", func(m *Manifest) { m.Payload[0].Overlay.Entries[4].Link = strings.Repeat("x", 4096) }},
		{"hardlink to nothing", "which is no file before it", func(m *Manifest) { m.Payload[0].Overlay.Entries[3].Link = "opt/reader/zzz" }},
		{"hardlink to outside", "which is no file before it", func(m *Manifest) { m.Payload[0].Overlay.Entries[3].Link = "../../etc/shadow" }},
		{"hardlink to a later file", "which is no file before it", func(m *Manifest) {
			m.Payload[0].Overlay.Entries[2].Path, m.Payload[0].Overlay.Entries[3].Path = "opt/reader/b", "opt/reader/a"
			e := m.Payload[0].Overlay.Entries
			e[2], e[3] = e[3], e[2]
			e[2].Link = "opt/reader/b"
		}},
		{"hardlink to a folder", "which is no file before it", func(m *Manifest) { m.Payload[0].Overlay.Entries[3].Link = "opt/reader" }},
		{"mode", "want at most 7777", func(m *Manifest) { file(m).Mode = 0o10000 }},
		{"setuid that is not allowed", "setuid and setgid need allow", func(m *Manifest) { m.Allow = nil; file(m).Xattrs = nil }},
		{"capability that is not allowed", "capabilities need allow", func(m *Manifest) { m.Allow = nil; file(m).Mode = 0o755 }},
		{"xattr of no namespace", `name "colour", want one that begins`, func(m *Manifest) { file(m).Xattrs[0].Name = "colour" }},
		{"xattr twice", `attribute "user.empty" after "user.empty"`, func(m *Manifest) { file(m).Xattrs[0].Name = "user.empty" }},
		{"xattr too long", "65537 bytes", func(m *Manifest) { file(m).Xattrs[1].Value = make([]byte, 65537) }},
		{"xattr name too long", "259 bytes", func(m *Manifest) { file(m).Xattrs[1].Name = "user" + "." + strings.Repeat("x", 254) }},

		{"line of two lines", "line.line: ", func(m *Manifest) { m.Payload[2].Line.Line = "127\nx" }},
		{"no line", "line.line: is missing", func(m *Manifest) { m.Payload[2].Line.Line = "" }},
		{"pattern", "line.match: ", func(m *Manifest) { m.Payload[2].Line.Match = "(" }},
		{"pattern that does not match its line", "does not match line itself", func(m *Manifest) { m.Payload[2].Line.Match = "^#" }},
		{"absent without match", "absent goes with match", func(m *Manifest) { m.Payload[3].Line.Match = "" }},
		{"absent and create", "absent goes with match", func(m *Manifest) { m.Payload[3].Line.Create = true }},
		{"line outside", "line.path: ", func(m *Manifest) { m.Payload[2].Line.Path = "../etc/hosts" }},
		{"ini key", "ini.key: ", func(m *Manifest) { m.Payload[4].Ini.Key = "a=b" }},
		{"ini key that is a comment", "ini.key: ", func(m *Manifest) { m.Payload[4].Ini.Key = ";x" }},
		{"no ini key", "ini.key: is missing", func(m *Manifest) { m.Payload[4].Ini.Key = "" }},
		{"ini section", "ini.section: ", func(m *Manifest) { m.Payload[4].Ini.Section = "a]" }},
		{"ini value of two lines", "ini.value: ", func(m *Manifest) { m.Payload[4].Ini.Value = "x\n[evil]" }},
		{"ini value with blanks around", "ini.value: ", func(m *Manifest) { m.Payload[4].Ini.Value = " x" }},
		{"ini absent with a value", "ini: absent does not go", func(m *Manifest) { m.Payload[4].Ini.Absent = true }},

		{"no phase", "run[0].phase: is missing", func(m *Manifest) { m.Run[0].Phase = "" }},
		{"phase", `run[0].phase: "later", want pre, post or firstboot`, func(m *Manifest) { m.Run[0].Phase = "later" }},
		{"no program", "run[0].exec: is missing", func(m *Manifest) { m.Run[0].Exec = nil }},
		{"program nowhere", `program "scripts/check.sh"`, func(m *Manifest) { m.Run[0].Exec[0] = "scripts/check.sh" }},
		{"program that is a parameter", "is a parameter", func(m *Manifest) { m.Run[0].Exec[0] = "{{server}}" }},
		{"unknown parameter", "{{colour}} is no parameter", func(m *Manifest) { m.Run[0].Exec[1] = "{{colour}}" }},
		{"too many arguments", "run[0].exec: 101 of them", func(m *Manifest) { m.Run[0].Exec = make([]string, 101) }},
		{"argument with NUL", "run[0].exec[1]: ", func(m *Manifest) { m.Run[0].Exec[1] = "a\x00b" }},
		{"script that is a path", "run[0].scripts[0].name: ", func(m *Manifest) { m.Run[0].Scripts[0].Name = "../check.sh" }},
		{"script mode", "run[0].scripts[0].mode: 04755", func(m *Manifest) { m.Run[0].Scripts[0].Mode = 0o4755 }},
		{"script twice", `"Check.sh" is there twice`, func(m *Manifest) { m.Run[0].Scripts = append(m.Run[0].Scripts, Script{"Check.sh", 0o644, 3}) }},
		{"no timeout", "run[0].timeout_seconds: 0, want 1 to 86400", func(m *Manifest) { m.Run[0].Timeout = 0 }},
		{"timeout of two days", "run[0].timeout_seconds: ", func(m *Manifest) { m.Run[0].Timeout = 172800 }},
		{"no ok", "run[0].ok: is missing", func(m *Manifest) { m.Run[0].OK = nil }},
		{"exit code", "run[0].ok: 256, want 0 to 255", func(m *Manifest) { m.Run[0].OK = []int{256} }},
		{"exit codes out of order", "run[1].ok: 0 after 3", func(m *Manifest) { m.Run[1].OK = []int{3, 0} }},
		{"exit code with two meanings", "run[1].reboot_codes: 3 is in ok", func(m *Manifest) { m.Run[1].Reboot = []int{3} }},
		{"retry", "run[1].retry: ", func(m *Manifest) { m.Run[1].Retry = "often" }},
		{"retry of pre", "run[0].retry: ", func(m *Manifest) { m.Run[0].Retry = NoRun }},

		{"contents that are not there", "has the contents 9", func(m *Manifest) { file(m).Data = 9 }},
		{"contents out of order", "has the contents 2", func(m *Manifest) { file(m).Data = 2 }},
		{"contents that nothing has", "files: 5 of them, but 4 are mentioned", func(m *Manifest) {
			m.Files = filesOf("conf {{server}}", "program", "package", "#!/bin/sh", "spare")
		}},
		{"contents twice", "twice", func(m *Manifest) { m.Files = filesOf("a", "b", "c", "a") }},
		{"negative size", "files[1]: size -1", func(m *Manifest) { m.Files[1].Size = -1 }},
		{"size beyond all bounds", "files[1]: size 9223372036854775807", func(m *Manifest) { m.Files[1].Size = math.MaxInt64 }},
		{"digest too short", "files[0]: sha256", func(m *Manifest) { m.Files[0].SHA256 = "00" }},
		{"digest in upper case", "files[0]: sha256", func(m *Manifest) { m.Files[0].SHA256 = strings.Repeat("A", 64) }},
		{"offset", "files[2]: offset 1, want", func(m *Manifest) { m.Files[2].Offset = 1 }},
		{"file too large to expand", "expand of 1048577 bytes", func(m *Manifest) {
			m.Files = filesOf(strings.Repeat("x", 1<<20+1), "program", "package", "#!/bin/sh")
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := full()
			tt.change(m)
			wantRefused(t, m, tt.want)
		})
	}
}

// TestWindowsRules does the same for a Windows.
func TestWindowsRules(t *testing.T) {
	path := func(path string) func(*Manifest) {
		return func(m *Manifest) { m.Payload[0].Overlay.Entries[0].Path = path }
	}
	tests := []struct {
		name, want string
		change     func(m *Manifest)
	}{
		{"device", "the name of a device", path("Program Files/con")},
		{"device with an ending", "the name of a device", path("Program Files/NUL.txt")},
		{"numbered device", "the name of a device", path("Com1/x")},
		{"device with a raised number", "the name of a device", path("LPT²")},
		{"device with a blank", "the name of a device", path("aux .txt")},
		{"console", "the name of a device", path("CONIN$")},
		{"stream", "a stream of a file", path("Program Files/a.txt:hidden")},
		{"drive", "a stream of a file", path("C:/Windows")},
		{"dot at the end", "ends in a dot or a blank", path("Program Files/a.")},
		{"blank at the end", "ends in a dot or a blank", path("Program Files /a")},
		{"backslash", "in a Windows has one of", path(`Program Files\a`)},
		{"wildcard", "in a Windows has one of", path("Program Files/a?")},
		{"name of 256 characters", "more than 255 characters", path("A/" + strings.Repeat("ä", 256))},
		{"case", "differ only by the case", path("Program Files/Reader/READER.INI")},
		{"case of a folder", "differ only by the case", path("PROGRAM FILES/Reader/a")},
		{"our own state", "where slipcast keeps", path("PROGRAMDATA/Slipcast/queue")},
		{"link", "Windows does not have offline", func(m *Manifest) {
			m.Payload[0].Overlay.Entries = []Entry{{Path: "a", Type: Symlink, Link: "b"}}
		}},
		{"owner", "that Windows does not have", func(m *Manifest) { m.Payload[0].Overlay.Entries[0].UID = 1 }},
		{"sticky bit", "that Windows does not have", func(m *Manifest) { m.Payload[0].Overlay.Entries[0].Mode = 0o1755 }},
		{"xattr", "attributes, which Windows", func(m *Manifest) { m.Payload[0].Overlay.Entries[0].Xattrs = []Xattr{{"user.x", nil}} }},
		{"deb", "neither dpkg nor rpm", func(m *Manifest) {
			m.Payload = append(m.Payload, Payload{Deb: []Package{{File: "x.deb", Name: "xx", Version: "1", Arch: "all"}}})
		}},
		{"program before first boot", "run[0].phase: ", func(m *Manifest) { m.Run[0].Phase = Post }},
		{"program with the network", "run[0].net: ", func(m *Manifest) { m.Run[0].Net = true }},
		{"script that is a device", "run[0].scripts[0].name: ", func(m *Manifest) {
			m.Run[0].Scripts[0].Name, m.Run[0].Exec[0] = "nul.exe", "nul.exe"
		}},
		{"exit code", "run[0].reboot_codes: ", func(m *Manifest) { m.Run[0].Reboot = []int{1 << 33} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := windowsManifest()
			tt.change(m)
			wantRefused(t, m, tt.want)
		})
	}
}

// wantRefused checks that m is refused when it is written, and when it is read.
func wantRefused(t *testing.T, m *Manifest, want string) {
	t.Helper()
	_, err := m.Encode()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Encode: %v, want an error with %q", err, want)
	}
	p, err := canonical(m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeManifest(p); !errors.Is(err, ErrDamaged) {
		t.Errorf("DecodeManifest: %v, want ErrDamaged", err)
	}
}

// JSON of a right manifest that is written in another way is refused.
func TestNotCanonical(t *testing.T) {
	good := encoded(t, full())
	swap := func(old, text string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("there is no %s in %s", old, good)
		}
		return strings.Replace(good, old, text, 1)
	}
	tests := []struct{ name, text, want string }{
		{"empty", "", "ends early"},
		{"cut", good[:len(good)/2], "ends early"},
		{"no line feed", strings.TrimSuffix(good, "\n"), "not canonical JSON from byte"},
		{"two line feeds", good + "\n", "not canonical JSON from byte"},
		{"blank", swap(`"schema":1`, `"schema": 1`), "not canonical JSON from byte 10"},
		{"something behind", good + "{}", "something follows"},
		{"list", "[" + good + "]", "array"},
		{"null", "null\n", "not canonical"},
		{"unknown key", swap(`"schema":1`, `"schema":1,"colour":"red"`), `unknown field "colour"`},
		{"key in upper case", swap(`"name"`, `"Name"`), `unknown key "Name"`},
		{"key that folds", swap(`"schema"`, `"ſchema"`), `unknown key "ſchema"`},
		{"key twice", swap(`"release":2`, `"release":2,"release":2`), `key "release" twice`},
		{"key twice, one escaped", swap(`"release":2`, `"release":3,"releas\u0065":2`), `key "release" twice`},
		{"keys in another order", swap(`"schema":1,"name":"reader"`, `"name":"reader","schema":1`), "not canonical"},
		{"empty value", swap(`"schema":1`, `"schema":1,"title":""`), "twice"},
		{"zero", swap(`"uid":7`, `"uid":7,"data":0`), "not canonical"},
		{"null value", swap(`"release":2`, `"release":2,"severity":null`), "twice"},
		{"number with a point", swap(`"release":2`, `"release":2.0`), "release"},
		{"number with an exponent", swap(`"release":2`, `"release":2e0`), "release"},
		{"number beyond int64", swap(`"release":2`, `"release":99999999999999999999`), "release"},
		{"negative mode", swap(`"mode":416`, `"mode":-1`), "number -1"},
		{"text for a number", swap(`"release":2`, `"release":"2"`), "string"},
		{"escaped letter", swap(`"reader"`, `"\u0072eader"`), "not canonical"},
		{"HTML escaped", swap("<9.3>", `\u003c9.3\u003e`), "not canonical"},
		{"base64 with a line feed", swap(`"AQD/"`, `"AQD/\n"`), "not canonical"},
		{"not base64", swap(`"AQD/"`, `"$$$"`), "base64"},
		{"not UTF-8", swap("friends", "fr\xffends"), "not canonical"},
		{"deep", `{"payload":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}\n", "in one another"},
		{"many keys", "{" + manyKeys(65) + "}\n", "more than 64 keys"},
		{"many objects", `{"payload":[` + strings.Repeat("{},", maxObjects) + "{}]}\n", "1000002 objects"},
		{"many values", `{"advisories":[` + strings.Repeat("1,", maxValues) + "1]}\n", "values"},
		{"too long", strings.Repeat(" ", maxManifest+1), "67108865 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := DecodeManifest([]byte(tt.text))
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want ErrDamaged with %q", err, tt.want)
			}
		})
	}
}

// manyKeys returns n keys with values.
func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + strings.Repeat("k", i+1) + `":1`)
	}
	return b.String()
}

// The header alone may stand in any order, as it does within other JSON, but
// not otherwise than that.
func TestDecodeHeader(t *testing.T) {
	m := full()
	p, err := m.Header.Encode()
	if err != nil {
		t.Fatal(err)
	}
	h, err := DecodeHeader(p)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := h.ID(), "reader/stable@9.3.0-2"; got != want {
		t.Errorf("ID = %s, want %s", got, want)
	}
	loose := strings.Replace(string(p), `{"schema":1,"name":"reader",`, "{ \"name\":\"reader\",\n\"schema\":1,", 1)
	if h, err = DecodeHeader([]byte(loose)); err != nil {
		t.Fatal(err)
	}
	if q, err := h.Encode(); err != nil || !bytes.Equal(p, q) {
		t.Errorf("encoded again: %s (%v), want %s", q, err, p)
	}
	for name, bad := range map[string]string{
		"key of the manifest": strings.Replace(loose, `"schema":1`, `"schema":1,"allow":["setuid"]`, 1),
		"key twice":           strings.Replace(loose, `"schema":1`, `"schema":1,"schema":1`, 1),
		"broken rule":         strings.Replace(loose, `"schema":1`, `"schema":3`, 1),
		"something behind":    loose + "x",
		"too long":            loose + strings.Repeat(" ", maxHeader),
	} {
		if _, err := DecodeHeader([]byte(bad)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}
