package bundle

import (
	"strings"
	"testing"
)

// everything is a bundle.yaml with every key, and the files that it names.
const everything = `schema: 1
name: reader
track: stable
version: 9.30            # text, not a number
scheme: dotted
release: 2
title: "Reader: 9.30"
severity: critical
kind: app
advisories: [APSB10-02, CVE-2009-3953]
family: linux
applies: >-
  distro() == "debian" &&
  arch() == "x64"
requires:
  - {product: vcredist, range: ">=14"}
  - fonts
upgrades_from: [nothing, ">=9.2 <9.3"]
supersedes: [{product: reader/stable, range: "<9.3"}]
conflicts: [reader-lite]
detect:
  version: pkg("reader")
  present: exists("/usr/bin/reader")
reboot: deferred
rollback: reimage
params:
  server: {title: Licence server, default: licence.example}
  host: {machine: name}
  key: {secret: true}
needs: {bytes: 1.5KiB, inodes: 900, commands: [sh, sed]}
allow: [setuid]
payload:
  - overlay:
      from: files/
      to: /opt
      delete: [/opt/b, etc/a]
      attributes:
        - {path: "**", owner: "7:8"}
        - {path: opt/dir, mode: 1777, xattrs: {user.b: text, user.a: 0x00ff, trusted.c: 0sAAE=}}
      expand: [opt/*.conf]
  - line: {path: /etc/hosts, match: ^127, line: 127.0.0.1 localhost, after: ^#, create: true}
  - line: {path: etc/hosts, match: bad, absent: true}
  - ini: {path: /etc/app.ini, section: main, key: server, value: x, create: true}
run:
  - phase: pre
    exec: [scripts/check.sh, "--key={{key}}"]
    scripts: [scripts/*]
    timeout: 90s
    ok: [3, 0]
    reboot_codes: [100]
    net: true
  - {phase: firstboot, exec: /bin/true, retry: never}
`

// Every key has its effect.
func TestEverything(t *testing.T) {
	dir := folderOf(t, map[string]string{
		"bundle.yaml":      everything,
		"files/a.conf":     "key = {{key}}, {{not a parameter}}\n",
		"files/dir/x":      "x",
		"files/link":       "-> dir/x",
		"scripts/check.sh": "#!/bin/sh\n",
		"scripts/data.txt": "data\n",
	})
	_, m := built(t, dir)
	want := `{"schema":1,"name":"reader","track":"stable","version":"9.30","scheme":"dotted","release":2,"title":"Reader: 9.30",` +
		`"severity":"critical","kind":"app","advisories":["APSB10-02","CVE-2009-3953"],"family":"linux",` +
		`"applies":"distro() == \"debian\" && arch() == \"x64\"","requires":[{"product":"vcredist","range":">=14"},{"product":"fonts"}],` +
		`"upgrades_from":[{"nothing":true},{"range":">=9.2 <9.3"}],"supersedes":[{"product":"reader/stable","range":"<9.3"}],` +
		`"conflicts":[{"product":"reader-lite"}],"detect":{"version":"pkg(\"reader\")","present":"exists(\"/usr/bin/reader\")"},` +
		`"reboot":"deferred","rollback":"reimage","params":[{"name":"host","machine":"name"},{"name":"key","secret":true},` +
		`{"name":"server","title":"Licence server","default":"licence.example"}],"needs":{"bytes":1536,"inodes":900,"commands":["sh","sed"]},` +
		`"machine_specific":true,"allow":["setuid"],"payload":[{"overlay":{"entries":[` +
		`{"path":"opt/a.conf","type":"file","mode":420,"uid":7,"gid":8,"expand":true},` +
		`{"path":"opt/dir","type":"dir","mode":1023,"uid":7,"gid":8,"xattrs":[{"name":"trusted.c","value":"AAE="},{"name":"user.a","value":"AP8="},{"name":"user.b","value":"dGV4dA=="}]},` +
		`{"path":"opt/dir/x","type":"file","mode":420,"uid":7,"gid":8,"data":1},` +
		`{"path":"opt/link","type":"symlink","uid":7,"gid":8,"link":"dir/x"}],"delete":["etc/a","opt/b"]}},` +
		`{"line":{"path":"etc/hosts","match":"^127","line":"127.0.0.1 localhost","after":"^#","create":true}},` +
		`{"line":{"path":"etc/hosts","match":"bad","absent":true}},` +
		`{"ini":{"path":"etc/app.ini","section":"main","key":"server","value":"x","create":true}}],` +
		`"run":[{"phase":"pre","exec":["check.sh","--key={{key}}"],"scripts":[{"name":"check.sh","mode":493,"data":2},{"name":"data.txt","mode":420,"data":3}],` +
		`"net":true,"timeout_seconds":90,"ok":[0,3],"reboot_codes":[100]},{"phase":"firstboot","exec":["/bin/true"],"timeout_seconds":600,"ok":[0],"retry":"never"}],`
	got := encoded(t, m)
	if !strings.HasPrefix(got, want) {
		n := common([]byte(got), []byte(want))
		t.Errorf("manifest differs at %d:\ngot  ...%s\nwant ...%s", n, got[max(0, n-20):], want[max(0, n-20):])
	}
}

// TestYAMLRejects shows that what is wrong is told with its line.
func TestYAMLRejects(t *testing.T) {
	programs := head + "detect: {present: exists(\"/x\")}\n"        // 5 lines
	overlay := head + "payload:\n  - overlay:\n      from: files\n" // 7 lines
	tests := []struct{ name, text, want string }{
		{"empty", "", "bundle.yaml: 0 documents, want one"},
		{"two documents", head + "---\n" + head, "bundle.yaml: 2 documents, want one"},
		{"list", "- schema: 1\n", "bundle.yaml:1: a list, want lines like key: value"},
		{"text", "hello\n", "bundle.yaml:1: text, want lines like"},
		{"no YAML", "schema: 1\nname: [a\n", "bundle.yaml:2: "},
		{"tab", "schema: 1\n\tname: a\n", "bundle.yaml:2: "},
		{"too long", strings.Repeat("#", maxYAML+1), "bundle.yaml: 4194305 bytes"},
		{"no schema", "name: reader\nversion: 1\nscheme: dotted\n", "bundle.yaml:1: schema is missing"},
		{"no version", "schema: 1\nname: reader\nscheme: dotted\n", "bundle.yaml:1: version is missing"},
		{"unknown key", head + "colour: red\n", `bundle.yaml:5: unknown key "colour", want advisories, allow, applies`},
		{"key twice", head + "name: other\n", `bundle.yaml:5: mapping key "name" already defined`},
		{"schema", "schema: 2\n", "bundle.yaml:1: 2, want a whole number from 1 to 1"},
		{"schema as text", "schema: '1'\n", "bundle.yaml:1: text, want a whole number"},
		{"name as a list", "schema: 1\nname: [a]\n", "bundle.yaml:2: a list, want text"},
		{"name is nothing", "schema: 1\nname:\n", "bundle.yaml:2: nothing, want text"},
		{"name is a truth", "schema: 1\nname: true\n", "bundle.yaml:2: true or false, want text"},
		{"name that is none", strings.Replace(head, "reader", "Reader!", 1) + "kind: app\n", `bundle.yaml:2: name: name "Reader!"`},
		{"version of another scheme", strings.Replace(head, "9.3.0", "nine", 1), "bundle.yaml:3: version: "},
		{"scheme", strings.Replace(head, "dotted", "calver", 1), `bundle.yaml:4: scheme: "calver", want deb, rpm, semver`},
		{"release", head + "release: 0\n", "bundle.yaml:5: 0, want a whole number from 1 to 2147483647"},
		{"release in hexadecimal", head + "release: 0x10\n", "bundle.yaml:5: 0x10, want a whole number"},
		{"release with a point", head + "release: 1.5\n", "bundle.yaml:5: a number, want a whole number"},
		{"severity", head + "severity: high\n", `bundle.yaml:5: "high", want critical, important, moderate or low`},
		{"applies", head + "\n# a comment\napplies: distro( ==\n", "bundle.yaml:7: applies: "},
		{"anchor", "schema: 1\nname: &n reader\nversion: *n\n", "bundle.yaml:2: an anchor"},
		{"tag", "schema: 1\nname: !!str reader\n", "bundle.yaml:2: something else, want text"},
		{"merge", "schema: 1\n<<: {name: a}\n", "bundle.yaml:2: unknown key"},
		{"requires", head + "requires:\n  - {product: a}\n  - {product: b, version: \">1\"}\n", `bundle.yaml:7: unknown key "version", want product or range`},
		{"range", head + "requires:\n  - {product: a}\n  - {product: b, range: about 1}\n", "bundle.yaml:7: requires[1].range: "},
		{"from", head + "upgrades_from: [nothing, \"?\"]\n", "bundle.yaml:5: upgrades_from[1].range: "},
		{"detect", head + "detect: {exists: /x}\n", `bundle.yaml:5: unknown key "exists", want present or version`},
		{"param", head + "params:\n  1st: {}\n", `bundle.yaml:6: params[0].name: `},
		{"param of another kind", head + "params:\n  a: {machine: ip}\n", `bundle.yaml:6: "ip", want name, uuid, mac or serial`},
		{"secret", head + "params:\n  a: {secret: yes please}\n", `bundle.yaml:6: text, want true or false`},
		{"size", head + "needs: {bytes: 210 mebibytes}\n", `bundle.yaml:5: size "210 mebibytes", want one like 210MiB`},
		{"size beyond int64", head + "needs: {bytes: 999999999999 TiB}\n", `bundle.yaml:5: size "999999999999 TiB"`},
		{"allow", head + "allow: [root]\npayload:\n  - overlay: {delete: [a]}\n", "bundle.yaml:5: allow: "},
		{"no payload", head, "bundle.yaml: kind: a bundle with neither payload nor run"},
		{"payload is text", head + "payload: files\n", "bundle.yaml:5: text, want a list"},
		{"payload of two", head + "payload:\n  - overlay: {from: files}\n    deb: x.deb\n", "bundle.yaml:7: payload[0].deb[0]: no file is called"},
		{"overlay from nowhere", head + "payload:\n  - overlay:\n      from: nowhere\n", "bundle.yaml:7: payload[0].overlay.from: "},
		{"overlay from outside", head + "payload:\n  - overlay:\n      from: ../..\n", "bundle.yaml:7: payload[0].overlay.from: "},
		{"overlay from a file", head + "payload:\n  - overlay:\n      from: bundle.yaml\n", "bundle.yaml is not a folder"},
		{"overlay to outside", head + "payload:\n  - overlay: {to: /x, delete: [a]}\n", "bundle.yaml:6: payload[0].overlay: to, attributes and expand need from"},
		{"deletes outside", head + "payload:\n  - overlay:\n      delete:\n        - ../x\n", "bundle.yaml:8: payload[0].overlay.delete[0]: "},
		{"attributes of nothing", overlay + "      attributes:\n        - {path: usr/sbin/*, mode: 0700}\n", `bundle.yaml:9: payload[0].overlay.attributes[0]: "usr/sbin/*" matches nothing`},
		{"attributes without a path", overlay + "      attributes:\n        - {mode: 0700}\n", "bundle.yaml:9: path is missing"},
		{"attributes with a broken glob", overlay + "      attributes:\n        - {path: '[', mode: 0700}\n", "bundle.yaml:9: "},
		{"mode", overlay + "      attributes:\n        - {path: '**', mode: 0798}\n", `bundle.yaml:9: mode "0798", want octal digits`},
		{"mode of letters", overlay + "      attributes:\n        - {path: '**', mode: rwxr-xr-x}\n", `bundle.yaml:9: mode "rwxr-xr-x"`},
		{"setuid", overlay + "      attributes:\n        - {path: '**', mode: 4755}\n", "bundle.yaml:6: payload[0].overlay.entries[0]: "},
		{"owner", overlay + "      attributes:\n        - {path: '**', owner: root}\n", `bundle.yaml:9: owner "root", want UID:GID`},
		{"owner that no file can have", overlay + "      attributes:\n        - {path: '**', owner: '4294967295:0'}\n", "bundle.yaml:6: payload[0].overlay.entries[0]: \"usr\": owner 4294967295:0"},
		{"owner out of range", overlay + "      attributes:\n        - {path: '**', owner: '4294967296:0'}\n", `bundle.yaml:9: owner`},
		{"xattr", overlay + "      attributes:\n        - {path: '**', xattrs: {user.x: 0xzz}}\n", "bundle.yaml:9: attribute user.x: "},
		{"expand of nothing", overlay + "      expand: ['*.conf']\n", `bundle.yaml:8: payload[0].overlay.expand[0]: "*.conf" matches nothing`},
		{"expand of an unknown parameter", overlay + "      expand: ['**']\n", "bundle.yaml:8: payload[0].overlay.expand: usr/bin/reader: {{colour}} is no parameter"},
		{"line", head + "payload:\n  - line: {path: etc/x, lines: a}\n", `bundle.yaml:6: unknown key "lines", want absent, after, create`},
		{"line of nothing", head + "payload:\n  - line:\n      path: etc/x\n", "bundle.yaml:6: payload[0].line.line: is missing"},
		{"line's pattern", head + "payload:\n  - line:\n      path: etc/x\n      match: (\n      line: a\n", "bundle.yaml:8: payload[0].line.match: "},
		{"ini", head + "payload:\n  - ini: {path: /etc/x, key: a, value: \"b\\nc\"}\n", "bundle.yaml:6: payload[0].ini.value: "},
		{"deb that is none", head + "payload:\n  - deb: [bundle.yaml]\n", "bundle.yaml:6: payload[0].deb: bundle.yaml: not a Debian package"},
		{"rpm that is none", head + "payload:\n  - rpm: [bundle.yaml]\n", "bundle.yaml:6: payload[0].rpm: bundle.yaml: not an RPM package"},
		{"no phase", programs + "run:\n  - {exec: [/bin/true]}\n", "bundle.yaml:7: run[0].phase: is missing"},
		{"phase", programs + "run:\n  - {phase: during, exec: [/bin/true]}\n", `bundle.yaml:7: "during", want pre, post or firstboot`},
		{"no program", programs + "run:\n  - {phase: pre, exec: [scripts/none.sh]}\n", "bundle.yaml:7: run[0].exec: "},
		{"program outside", programs + "run:\n  - {phase: pre, exec: [../none.sh]}\n", "bundle.yaml:7: run[0].exec: "},
		{"timeout", programs + "run:\n  - {phase: pre, exec: [sh], timeout: 60}\n", `bundle.yaml:7: time "60", want one like 60s`},
		{"timeout too long", programs + "run:\n  - {phase: pre, exec: [sh], timeout: 25h}\n", `bundle.yaml:7: time "25h", want one like 60s or 10m, from 1s to 24h0m0s`},
		{"exit code", programs + "run:\n  - {phase: pre, exec: [sh], ok: [0, 300]}\n", "bundle.yaml:7: run[0].ok: 300, want 0 to 255"},
		{"exit code twice", programs + "run:\n  - {phase: pre, exec: [sh], ok: [0, 0]}\n", "bundle.yaml:7: run[0].ok: 0 after 0"},
		{"only programs", head + "run:\n  - {phase: pre, exec: [sh]}\n", "bundle.yaml: kind: a bundle that only runs programs needs detect"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := folderOf(t, map[string]string{"bundle.yaml": tt.text, "files/usr/bin/reader": "{{colour}}"})
			_, _, err := build(t, dir)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want one with %q", err, tt.want)
			}
		})
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "7": 7, "7 B": 7, "210MiB": 210 << 20, "1.5 GB": 15e8, "0.1KiB": 103, "8388607TiB": 8388607 << 40,
	} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("parseSize(%q) = %d, %t, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "-1", "1 XB", "MiB", "1e3", "1,5GB", "8388608TiB", "1MiB ", " 1", "1.1234567"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("parseSize(%q) = %d, want none", text, got)
		}
	}
}

func TestMatchPath(t *testing.T) {
	tests := []struct {
		glob, name string
		want       bool
	}{
		{"etc/*.conf", "etc/a.conf", true},
		{"/etc/*.conf", "etc/a.conf", true},
		{"etc/*.conf", "etc/a/b.conf", false},
		{"etc", "etc/a", false},
		{"etc/a", "etc", false},
		{"**", "etc/a", true},
		{"**/a", "a", true},
		{"**/a", "x/y/a", true},
		{"etc/**/a", "etc/a", true},
		{"etc/**/a", "etc/x/y/b", false},
		{"etc/**", "etc", true},
		{"etc/**", "usr/etc", false},
		{"**/*/**", "a", true},
		{"**/x/**/x", "x/y/x", true},
		{"**/x/**/x", "x", false},
	}
	for _, tt := range tests {
		if got, err := matchPath(tt.glob, tt.name); got != tt.want || err != nil {
			t.Errorf("matchPath(%q, %q) = %t, %v, want %t", tt.glob, tt.name, got, err, tt.want)
		}
	}
	if _, err := matchPath("[", "a"); err == nil {
		t.Error("a broken glob is accepted")
	}
}
