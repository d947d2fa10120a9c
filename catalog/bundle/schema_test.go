package bundle

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"slipcast/catalog/version"
)

// compiledSchema compiles the schema once. Compiling checks it by the
// metaschema of its draft.
var compiledSchema = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSONSchema()))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("bundle.schema.json", doc); err != nil {
		return nil, err
	}
	return c.Compile("bundle.schema.json")
})

// checkBySchema returns what the schema has against the text of a bundle.yaml.
func checkBySchema(t testing.TB, text string) error {
	t.Helper()
	s, err := compiledSchema()
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return err
	}
	return s.Validate(doc)
}

// The schema accepts every bundle.yaml of the scripts and of the tests of other
// packages; what the tests of this package build, build itself checks.
func TestSchemaAccepts(t *testing.T) {
	list := scriptYAML(t)
	maps.Copy(list, testYAML(t))
	maps.Copy(list, exampleVariants())
	if len(list) < 20 {
		t.Errorf("found only %d of bundle.yaml", len(list))
	}
	for name, text := range list {
		if _, err := readRecipe([]byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := checkBySchema(t, text); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// scriptYAML returns each bundle.yaml of the scripts of cmd/slipcast.
func scriptYAML(t *testing.T) map[string]string {
	t.Helper()
	scripts, err := filepath.Glob("../../cmd/slipcast/testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]string{}
	for _, name := range scripts {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if strings.HasSuffix(f.Name, "/"+yamlName) {
				list[filepath.Base(name)+"/"+f.Name] = string(f.Data)
			}
		}
	}
	return list
}

// testYAML returns each bundle.yaml that stands as one text in a test of
// another package.
func testYAML(t *testing.T) map[string]string {
	t.Helper()
	list := map[string]string{}
	err := filepath.WalkDir("../..", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == ".git" {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(name, "_test.go") || filepath.Dir(name) == "../../catalog/bundle" {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if text, ok := wholeYAML(n); ok {
				list[set.Position(n.Pos()).String()] = text
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// wholeYAML returns the text of a literal that is a bundle.yaml with something in it,
// not the beginning of one or a format.
func wholeYAML(n ast.Node) (string, bool) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(lit.Value)
	if err != nil || !strings.HasPrefix(text, "schema: 1\n") {
		return "", false
	}
	r, err := readRecipe([]byte(text))
	return text, err == nil && namePattern.MatchString(r.header.Name) && len(r.payload)+len(r.run) > 0
}

// exampleVariants returns the example of bundle init, as it is and with all that
// stands there as a comment.
func exampleVariants() map[string]string {
	commented := regexp.MustCompile(`(?m)^( *)#([^# ])`)
	return map[string]string{"example": exampleYAML, "example with everything": commented.ReplaceAllString(exampleYAML, "$1$2")}
}

// What is unusual and right for Build is right by the schema, too: build checks that.
func TestSchemaIsNotStricter(t *testing.T) {
	detect := head + "detect: {present: 'exists(\"/x\")'}\n"
	deleted := "payload:\n  - overlay: {delete: [a]}\n"
	overlay := head + "payload:\n  - overlay: {from: files, "
	tests := []struct{ name, text string }{
		{"numbers as texts", "schema: 1\nname: 7\nversion: 9.30\nscheme: dotted\ntrack: 10\ntitle: 5\nadvisories: 12\n" + deleted},
		{"empty texts", head + "track: ''\ntitle: ''\napplies: ''\ndetect: {version: '', present: ''}\nparams: {a: {title: '', default: ''}}\n" + deleted},
		{"empty lists", head + "advisories: []\nrequires: []\nupgrades_from: []\nallow: []\nneeds: {commands: []}\nparams: {}\nrun: []\n" + deleted},
		{"blocks", head + "title: >\n  in two\n  lines\napplies: |\n  true ||\n  \tfalse\n" + deleted},
		{"longest title", head + "title: |\n  " + strings.Repeat("x", longestTitle) + "\n" + deleted},
		{"longest condition", head + "applies: |\n  true //" + strings.Repeat("x", longestText-7) + "\n" + deleted},
		{"one text alone", head + "advisories: a\nneeds: {commands: sh}\nallow: setuid\npayload:\n  - overlay: {from: files, delete: /b, expand: '**'}\n"},
		{"ranges", head + "requires: [{product: a, range: ''}, {product: b/c, range: ' >= 1  !=2 '}]\nupgrades_from: [' ', '<9']\n" + deleted},
		{"collection", head + "kind: collection\nrequires: [a]\npayload: []\nrun: []\ndetect: {}\n"},
		{"sizes", head + "needs: {bytes: 1.5 GB, inodes: 0}\n" + deleted},
		{"sizes in numbers", head + "needs: {bytes: 10.25}\n" + deleted},
		{"no packages", head + "payload:\n  - {overlay: {delete: [a]}, deb: [], rpm: []}\n"},
		{"paths", head + "payload:\n  - overlay: {delete: [/.a, ..b, a/..., '7', 8, 'a b', " + strings.Repeat("x", longestComponent) + "]}\n"},
		{"deepest path", head + "payload:\n  - overlay: {delete: /" + strings.Repeat("x/", deepestPath-1) + "x}\n"},
		{"no folder", head + "payload:\n  - overlay: {from: '', to: '', attributes: [], expand: [], delete: [a]}\n"},
		{"modes", overlay + "attributes: [{path: '**', mode: 0750}, {path: '**', mode: 1777}, {path: '**', mode: '00000755'}, {path: '**', mode: 0}]}\n"},
		{"attributes", overlay + "attributes: [{path: '**', xattrs: {user.a: 0x00ff, user.b: '0x', user.c: \"0sAA\\nE=\", user.d: '0', user.e: '', user.f: 07, user.g: \"a\\n\U0001F4BE\"}}]}\n"},
		{"line", head + "payload:\n  - line: {path: a, match: 127, line: 127, after: '', absent: false}\n  - line: {path: a, absent: true, match: b, line: '', after: '', create: false}\n"},
		{"ini", head + "payload:\n  - ini: {path: a, section: '', key: a b, value: 5}\n  - ini: {path: b, section: 7, key: '7', absent: true, value: '', create: false}\n"},
		{"program alone", detect + "run:\n  - {phase: post, exec: sh, ok: [], net: false, scripts: []}\n  - {phase: firstboot, exec: [sh, -c, '', 7, \"a\\nb\"], net: false}\n"},
		{"times", detect + "run:\n  - {phase: post, exec: sh, timeout: 24h}\n  - {phase: post, exec: sh, timeout: '+1.5m30s'}\n  - {phase: post, exec: sh, timeout: 1000ms}\n"},
		{"Windows", head + "family: windows\n" + detect[len(head):] + "run:\n  - {phase: firstboot, exec: sh, ok: [4294967295, 0], reboot_codes: [3010]}\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			built(t, folderOf(t, map[string]string{"bundle.yaml": tt.text, "files/usr/bin/reader": "x"}))
		})
	}
}

// What is wrong is wrong for both.
func TestSchemaRejects(t *testing.T) {
	detect := "detect: {present: 'exists(\"/x\")'}\n"
	deleted := "payload:\n  - overlay: {delete: [a]}\n"
	payload := func(text string) string { return head + "payload:\n  - " + text + "\n" }
	run := func(text string) string { return head + detect + "run:\n  - {" + text + "}\n" }
	attribute := func(text string) string {
		return payload("overlay: {from: files, attributes: [{path: '**', " + text + "}]}")
	}
	tests := []struct{ name, text string }{
		{"a list", "- schema: 1\n"},
		{"no schema", head[len("schema: 1\n"):] + deleted},
		{"no name", strings.Replace(head, "name: reader\n", "", 1) + deleted},
		{"no version", strings.Replace(head, "version: 9.3.0\n", "", 1) + deleted},
		{"no scheme", strings.Replace(head, "scheme: dotted\n", "", 1) + deleted},
		{"nothing to do", head},
		{"unknown key", head + "colour: red\n" + deleted},
		{"a key of the manifest", head + "machine_specific: true\n" + deleted},
		{"schema", strings.Replace(head, "schema: 1", "schema: 2", 1) + deleted},
		{"schema as text", strings.Replace(head, "schema: 1", "schema: '1'", 1) + deleted},
		{"name", strings.Replace(head, "reader", "Reader!", 1) + deleted},
		{"name that is too long", strings.Replace(head, "reader", strings.Repeat("x", longestName+1), 1) + deleted},
		{"name is a list", strings.Replace(head, "reader", "[a]", 1) + deleted},
		{"name is nothing", strings.Replace(head, "reader", "", 1) + deleted},
		{"name is a truth", strings.Replace(head, "reader", "true", 1) + deleted},
		{"name is negative", strings.Replace(head, "reader", "-7", 1) + deleted},
		{"track", head + "track: -x\n" + deleted},
		{"version", strings.Replace(head, "9.3.0", "9 3", 1) + deleted},
		{"version that is too long", strings.Replace(head, "9.3.0", strings.Repeat("1", longestVersion+1), 1) + deleted},
		{"scheme", strings.Replace(head, "dotted", "calver", 1) + deleted},
		{"release", head + "release: 0\n" + deleted},
		{"release that is too high", head + "release: 2147483648\n" + deleted},
		{"release as text", head + "release: '1'\n" + deleted},
		{"release with a point", head + "release: 1.5\n" + deleted},
		{"title of two lines", head + "title: \"a\\nb\"\n" + deleted},
		{"title that is too long", head + "title: " + strings.Repeat("x", longestTitle+1) + "\n" + deleted},
		{"title with a control character", head + "title: \"a\\x07\"\n" + deleted},
		{"severity", head + "severity: high\n" + deleted},
		{"severity is empty", head + "severity: ''\n" + deleted},
		{"kind", head + "kind: fix\n" + deleted},
		{"collection without requires", head + "kind: collection\n"},
		{"collection with a payload", head + "kind: collection\nrequires: [a]\n" + deleted},
		{"collection with detect", head + "kind: collection\nrequires: [a]\n" + detect},
		{"collection with programs", head + "kind: collection\nrequires: [a]\nrun:\n  - {phase: pre, exec: sh}\n"},
		{"advisory of two words", head + "advisories: [a b]\n" + deleted},
		{"empty advisory", head + "advisories: ['']\n" + deleted},
		{"advisory that is too long", head + "advisories: [" + strings.Repeat("x", longestWord+1) + "]\n" + deleted},
		{"too many advisories", head + "advisories: [" + strings.Repeat("x,", mostItems) + "x]\n" + deleted},
		{"family", head + "family: bsd\n" + deleted},
		{"condition is a truth", head + "applies: true\n" + deleted},
		{"condition is a number", head + "applies: 1\n" + deleted},
		{"condition that is too long", head + "applies: true //" + strings.Repeat("x", longestText) + "\n" + deleted},
		{"requires is text", head + "requires: a\n" + deleted},
		{"required product", head + "requires: [A]\n" + deleted},
		{"requires without a product", head + "requires: [{range: '>1'}]\n" + deleted},
		{"requires with another key", head + "requires: [{product: a, version: '>1'}]\n" + deleted},
		{"range", head + "requires: [{product: a, range: about 1}]\n" + deleted},
		{"range is a number", head + "requires: [{product: a, range: 1}]\n" + deleted},
		{"supersedes", head + "supersedes: [{product: a/b/c}]\n" + deleted},
		{"conflicts", head + "conflicts: [[a]]\n" + deleted},
		{"upgrades_from is text", head + "upgrades_from: nothing\n" + deleted},
		{"upgrades_from something", head + "upgrades_from: [something]\n" + deleted},
		{"upgrades_from is empty", head + "upgrades_from: ['']\n" + deleted},
		{"upgrades_from is a version", head + "upgrades_from: [9.2]\n" + deleted},
		{"detect with another key", head + "detect: {exists: /x}\n" + deleted},
		{"detect is nothing", head + "detect:\n" + deleted},
		{"reboot", head + "reboot: always\n" + deleted},
		{"reboot is a truth", head + "reboot: true\n" + deleted},
		{"rollback", head + "rollback: none\n" + deleted},
		{"params is a list", head + "params: [a]\n" + deleted},
		{"parameter's name", head + "params: {1st: {}}\n" + deleted},
		{"parameter is text", head + "params: {a: b}\n" + deleted},
		{"parameter with another key", head + "params: {a: {value: b}}\n" + deleted},
		{"parameter of another kind", head + "params: {a: {machine: ip}}\n" + deleted},
		{"secret is text", head + "params: {a: {secret: 'true'}}\n" + deleted},
		{"secret with a default", head + "params: {a: {secret: true, default: b}}\n" + deleted},
		{"machine with a default", head + "params: {a: {machine: mac, default: b}}\n" + deleted},
		{"default is a truth", head + "params: {a: {default: true}}\n" + deleted},
		{"default that is too long", head + "params: {a: {default: " + strings.Repeat("xx", longestText) + "}}\n" + deleted},
		{"size", head + "needs: {bytes: 210 mebibytes}\n" + deleted},
		{"negative size", head + "needs: {bytes: -1}\n" + deleted},
		{"inodes as text", head + "needs: {inodes: '5'}\n" + deleted},
		{"too many inodes", head + "needs: {inodes: 1099511627777}\n" + deleted},
		{"command with a path", head + "needs: {commands: [/bin/sh]}\n" + deleted},
		{"command that is an option", head + "needs: {commands: [-x]}\n" + deleted},
		{"command that is a folder", head + "needs: {commands: ..}\n" + deleted},
		{"needs with another key", head + "needs: {memory: 5}\n" + deleted},
		{"allow", head + "allow: [root]\n" + deleted},
		{"allow twice", head + "allow: [setuid, setuid]\n" + deleted},
		{"payload is text", head + "payload: files\n"},
		{"payload of nothing", payload("{}")},
		{"payload of two", payload("{overlay: {delete: [a]}, ini: {path: b, key: c}}")},
		{"payload of another kind", payload("apk: x.apk")},
		{"no glob", payload("deb: []")},
		{"empty glob", payload("rpm: ['']")},
		{"overlay of nothing", payload("overlay: {}")},
		{"overlay with another key", payload("overlay: {form: files}")},
		{"overlay from outside", payload("overlay: {from: ../x}")},
		{"overlay from the root", payload("overlay: {from: /}")},
		{"to without from", payload("overlay: {to: /x, delete: [a]}")},
		{"expand without from", payload("overlay: {expand: ['*'], delete: [a]}")},
		{"delete outside", payload("overlay: {delete: [../x]}")},
		{"delete everything", payload("overlay: {delete: [/]}")},
		{"unclean path", payload("overlay: {delete: [a//b]}")},
		{"path with a slash at its end", payload("overlay: {delete: a/}")},
		{"path with a dot", payload("overlay: {delete: a/./b}")},
		{"path with a tab", payload("overlay: {delete: \"a\\tb\"}")},
		{"name that is too long for a file", payload("overlay: {delete: " + strings.Repeat("x", longestComponent+1) + "}")},
		{"path that is too deep", payload("overlay: {delete: " + strings.Repeat("x/", deepestPath) + "x}")},
		{"path that is too long", payload("overlay: {delete: " + strings.Repeat(strings.Repeat("x", 99)+"/", 41) + "x}")},
		{"attributes without a path", payload("overlay: {from: files, attributes: [{mode: 0700}]}")},
		{"attribute with another key", attribute("user: root")},
		{"mode", attribute("mode: '0798'")},
		{"mode of letters", attribute("mode: rwxr-xr-x")},
		{"mode that is too high", attribute("mode: '10000'")},
		{"mode that is too high a number", attribute("mode: 17777")},
		{"owner by name", attribute("owner: root")},
		{"owner as a number", attribute("owner: 1000")},
		{"owner that is too high", attribute("owner: '42949672960:0'")},
		{"xattr that is no hexadecimal", attribute("xattrs: {user.x: 0xzz}")},
		{"xattr that is no base64", attribute("xattrs: {user.x: 0s-}")},
		{"xattr of another space", attribute("xattrs: {other.x: a}")},
		{"xattr without a name", attribute("xattrs: {user.: a}")},
		{"xattr is a truth", attribute("xattrs: {user.x: true}")},
		{"line with another key", payload("line: {path: a, lines: b}")},
		{"line without a path", payload("line: {line: b}")},
		{"line without a line", payload("line: {path: a}")},
		{"empty line", payload("line: {path: a, line: ''}")},
		{"two lines", payload("line: {path: a, line: \"b\\nc\"}")},
		{"line that is too long", payload("line: {path: a, line: " + strings.Repeat("xx", longestLine) + "}")},
		{"match that is too long", payload("line: {path: a, line: b, match: " + strings.Repeat("x?", longestPattern) + "}")},
		{"absent without match", payload("line: {path: a, absent: true}")},
		{"absent with line", payload("line: {path: a, absent: true, match: b, line: b}")},
		{"absent with create", payload("line: {path: a, absent: true, match: b, create: true}")},
		{"absent with after", payload("line: {path: a, absent: true, match: b, after: c}")},
		{"absent as text", payload("line: {path: a, absent: 'true', match: b}")},
		{"ini with another key", payload("ini: {path: a, key: b, val: c}")},
		{"ini without a key", payload("ini: {path: a}")},
		{"ini without a path", payload("ini: {key: a}")},
		{"section", payload("ini: {path: a, section: '[b]', key: c}")},
		{"key with an equals sign", payload("ini: {path: a, key: b=c}")},
		{"key like a comment", payload("ini: {path: a, key: ';b'}")},
		{"key with blanks around it", payload("ini: {path: a, key: ' b'}")},
		{"value with a blank behind it", payload("ini: {path: a, key: b, value: 'c '}")},
		{"value of two lines", payload("ini: {path: a, key: b, value: \"c\\nd\"}")},
		{"value that is too long", payload("ini: {path: a, key: b, value: " + strings.Repeat("xx", longestText) + "}")},
		{"absent with a value", payload("ini: {path: a, key: b, absent: true, value: c}")},
		{"absent with create in an ini", payload("ini: {path: a, key: b, absent: true, create: true}")},
		{"only programs", head + "run:\n  - {phase: pre, exec: sh}\n"},
		{"run is no list", head + detect + "run: {phase: pre, exec: sh}\n"},
		{"run with another key", run("phase: pre, exec: sh, user: root")},
		{"run with a key of the manifest", run("phase: pre, exec: sh, timeout_seconds: 60")},
		{"no phase", run("exec: sh")},
		{"phase", run("phase: during, exec: sh")},
		{"no program", run("phase: pre")},
		{"empty program", run("phase: pre, exec: ''")},
		{"empty list of a program", run("phase: pre, exec: []")},
		{"first of them is empty", run("phase: pre, exec: ['', a]")},
		{"program is a parameter", head + detect + "params: {a: {}}\nrun:\n  - {phase: pre, exec: ['{{a}}']}\n"},
		{"too many arguments", run("phase: pre, exec: [sh" + strings.Repeat(", x", mostArgs) + "]")},
		{"argument that is too long", run("phase: pre, exec: [sh, " + strings.Repeat("xx", longestText) + "]")},
		{"argument is a truth", run("phase: pre, exec: [sh, true]")},
		{"timeout without a unit", run("phase: pre, exec: sh, timeout: 60")},
		{"timeout in days", run("phase: pre, exec: sh, timeout: 1d")},
		{"timeout is negative", run("phase: pre, exec: sh, timeout: -1s")},
		{"exit code", run("phase: pre, exec: sh, ok: [300]")},
		{"exit code in text", run("phase: pre, exec: sh, ok: ['0']")},
		{"exit code alone", run("phase: pre, exec: sh, ok: 0")},
		{"exit code twice", run("phase: pre, exec: sh, ok: [0, 0]")},
		{"exit code of a reboot", run("phase: pre, exec: sh, reboot_codes: [-1]")},
		{"retry of pre", run("phase: pre, exec: sh, retry: safe")},
		{"retry", run("phase: firstboot, exec: sh, retry: always")},
		{"net at first boot", run("phase: firstboot, exec: sh, net: true")},
		{"net as text", run("phase: pre, exec: sh, net: on")},
		{"program of a Windows", head + "family: windows\n" + detect + "run:\n  - {phase: pre, exec: sh}\n"},
		{"exit code of a Windows", head + "family: windows\n" + detect + "run:\n  - {phase: firstboot, exec: sh, ok: [4294967296]}\n"},
		{"too many programs", head + detect + "run: [" + strings.Repeat("{phase: pre, exec: sh},", mostRuns) + "{phase: pre, exec: sh}]\n"},
		{"too many payloads", head + "payload: [" + strings.Repeat("{ini: {path: a, key: b}},", mostPayloads) + "{ini: {path: a, key: b}}]\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := build(t, folderOf(t, map[string]string{"bundle.yaml": tt.text, "files/usr/bin/reader": "x"})); err == nil {
				t.Error("Build accepts it")
			}
			if err := checkBySchema(t, tt.text); err == nil {
				t.Error("the schema accepts it")
			}
		})
	}
}

// The schema has the keys that bundle.yaml may have, at every level, with the
// words of those that have a fixed set, and explains each.
func TestSchemaKeys(t *testing.T) {
	known := map[string]string{}
	readKeys(t, known, "", func(value any) any { return value })
	var doc map[string]any
	if err := json.Unmarshal(JSONSchema(), &doc); err != nil {
		t.Fatal(err)
	}
	s := schemaReader{t: t, doc: doc, keys: map[string]string{}}
	s.read(doc, "")
	known["scheme"] = orList(version.Schemes()) // which is checked later
	got, want := slices.Sorted(maps.Keys(s.keys)), slices.Sorted(maps.Keys(known))
	for _, key := range got {
		if _, ok := known[key]; !ok {
			t.Errorf("the schema has %s, which bundle.yaml may not have", key)
		}
	}
	for _, key := range want {
		words, ok := s.keys[key]
		if !ok {
			t.Errorf("bundle.yaml may have %s, which the schema has not", key)
		}
		if ok && words != known[key] {
			t.Errorf("%s is %q in the schema, %q in bundle.yaml", key, words, known[key])
		}
	}
	if len(want) < 60 {
		t.Errorf("bundle.yaml may have only %d keys: %q", len(want), want)
	}
}

// noKey is no key of bundle.yaml.
const noKey = "nokey"

// readKeys asks readRecipe which keys it knows at a place: for a key that it does
// not know it lists those that it does. wrap makes the document that has a value at
// that place. Elements of lists are called [], and names of the author's *. known
// maps each to the list of its words, if there is one.
func readKeys(t *testing.T, known map[string]string, where string, wrap func(value any) any) {
	t.Helper()
	err := refusal(t, wrap(map[string]any{noKey: 0}))
	_, list, isMapping := strings.Cut(err.Error(), "unknown key \""+noKey+"\", want ")
	switch {
	case isMapping:
		for _, key := range strings.Split(strings.ReplaceAll(list, " or ", ", "), ", ") {
			known[join(where, key)] = ""
			readKeys(t, known, join(where, key), func(value any) any { return wrap(map[string]any{key: value}) })
		}
	case strings.Contains(err.Error(), "keys with values, want a list"):
		readKeys(t, known, where+"[]", func(value any) any { return wrap([]any{value}) })
	case strings.Contains(err.Error(), "a number, want lines like"):
		known[where+".*"] = ""
		readKeys(t, known, where+".*", func(value any) any { return wrap(map[string]any{noKey: value}) })
	case strings.Contains(err.Error(), "keys with values, want"): // a plain value
		if strings.HasSuffix(where, "[]") {
			return
		}
		_, known[where], _ = strings.Cut(refusal(t, wrap(noKey)).Error(), ": \""+noKey+"\", want ")
	default: // a name of the author's with a plain value
		known[where+".*"] = ""
	}
}

// refusal returns what readRecipe has against a document.
func refusal(t *testing.T, doc any) error {
	t.Helper()
	text, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = readRecipe(text); err == nil {
		t.Fatalf("%s is accepted", text)
	}
	return err
}

// A schemaReader collects the keys that a schema has.
type schemaReader struct {
	t    *testing.T
	doc  map[string]any
	keys map[string]string // key → the list of its words, if there is one
}

// read collects those of one part of the schema, and of its parts.
func (s *schemaReader) read(part map[string]any, where string) {
	for word, value := range part {
		switch word {
		case "properties", "patternProperties":
			s.properties(part, value.(map[string]any), where, word == "patternProperties")
		case "$ref":
			s.read(s.def(value.(string)), where)
		case "items":
			s.read(value.(map[string]any), where+"[]")
		case "prefixItems":
			s.each(value, where+"[]")
		case "anyOf", "oneOf", "allOf":
			s.each(value, where)
		case "if", "then", "else", "not":
			s.read(value.(map[string]any), where)
		}
	}
}

// each reads a list of parts.
func (s *schemaReader) each(list any, where string) {
	for _, part := range list.([]any) {
		s.read(part.(map[string]any), where)
	}
}

// properties reads the keys of one level. Where a key is declared, and not only
// restricted further, others are refused and each is explained.
func (s *schemaReader) properties(part, list map[string]any, where string, named bool) {
	closed := part["additionalProperties"] == false
	if part["type"] == "object" && !closed {
		s.t.Errorf("%q: other keys are accepted", where)
	}
	for key, value := range list {
		if named {
			key = "*"
		}
		key = join(where, key)
		property, isObject := value.(map[string]any)
		if closed {
			s.keys[key] = wordsOf(property)
			if s.explanation(property) == "" {
				s.t.Errorf("%s has no description", key)
			}
		}
		if isObject {
			s.read(property, key)
		}
	}
}

// wordsOf returns the list of the words that a key may have.
func wordsOf(property map[string]any) string {
	enum, _ := property["enum"].([]any)
	var words []string
	for _, word := range enum {
		words = append(words, word.(string))
	}
	return orList(words)
}

// explanation returns the description of a part, or of what it refers to.
func (s *schemaReader) explanation(part map[string]any) string {
	if text, ok := part["description"].(string); ok {
		return text
	}
	if ref, ok := part["$ref"].(string); ok {
		return s.explanation(s.def(ref))
	}
	return ""
}

// def returns the part that a reference names.
func (s *schemaReader) def(ref string) map[string]any {
	s.t.Helper()
	def, ok := s.doc["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	if !ok {
		s.t.Fatalf("the schema has no %s", ref)
	}
	return def
}

// checkAccepted checks that the schema accepts the bundle.yaml of a folder that
// Build accepts.
func checkAccepted(t testing.TB, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, yamlName))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkBySchema(t, string(text)); err != nil {
		t.Errorf("Build accepts what the schema does not: %v\n%s", err, text)
	}
}
