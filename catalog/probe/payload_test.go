package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
	"slipcast/internal/lab"
)

// sum returns the SHA-256 of text in hexadecimal.
func sum(text string) string {
	digest := sha256.Sum256([]byte(text))
	return hex.EncodeToString(digest[:])
}

// payloadOf returns a bundle with a payload whose files have these contents.
func payloadOf(contents []string, payload ...bundle.Payload) *bundle.Manifest {
	m := &bundle.Manifest{Payload: payload}
	for _, text := range contents {
		m.Files = append(m.Files, bundle.File{Size: int64(len(text)), SHA256: sum(text)})
	}
	return m
}

// overlay is a payload of entries that belong to whoever runs the test.
func overlay(entries ...bundle.Entry) bundle.Payload {
	for i := range entries {
		entries[i].UID, entries[i].GID = uint32(os.Getuid()), uint32(os.Getgid())
	}
	return bundle.Payload{Overlay: &bundle.Overlay{Entries: entries}}
}

func TestPayload(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, tree{
		"etc/app/conf": "on\n", "etc/app/link": "-> conf", "etc/app.ini": "[a]\nb=c\n", "etc/lines": "one\ntwo\n", "var/lib/dpkg/status": status,
		"lib": "-> usr/lib", "usr/lib/x": "x", "etc/utf16": "\xff\xfea\x00",
	})
	if err := os.Link(filepath.Join(dir, "etc/app/conf"), filepath.Join(dir, "etc/app/second")); err != nil {
		t.Fatal(err)
	}
	p := New(open(t, dir), nil)
	conf := bundle.Entry{Path: "etc/app/conf", Type: bundle.RegularFile, Mode: 0o644}
	with := func(change func(*bundle.Entry)) bundle.Payload {
		e := conf
		change(&e)
		return overlay(e)
	}
	deb := func(name, version, arch string) bundle.Payload {
		return bundle.Payload{Deb: []bundle.Package{{Name: name, Version: version, Arch: arch}}}
	}
	line, ini := func(l bundle.Line) bundle.Payload { return bundle.Payload{Line: &l} }, func(i bundle.Ini) bundle.Payload { return bundle.Payload{Ini: &i} }
	const yes, no, unknown = condition.Yes, condition.No, condition.Unknown
	tests := []struct {
		name    string
		payload bundle.Payload
		want    condition.Verdict
		reason  string
	}{
		{"file", overlay(conf), yes, ""},
		{"all types", overlay(bundle.Entry{Path: "etc/app", Type: bundle.Directory, Mode: 0o755}, conf, bundle.Entry{Path: "etc/app/link", Type: bundle.Symlink, Link: "conf"},
			bundle.Entry{Path: "etc/app/second", Type: bundle.Hardlink, Link: "etc/app/conf"}), yes, ""},
		{"below a link", overlay(bundle.Entry{Path: "lib/x", Type: bundle.RegularFile, Mode: 0o644, Data: 1}), yes, ""},
		{"mode", with(func(e *bundle.Entry) { e.Mode = 0o600 }), no, "etc/app/conf: has mode 0644, not 0600"},
		{"contents", with(func(e *bundle.Entry) { e.Data = 2 }), no, "etc/app/conf: has other contents"},
		{"size", with(func(e *bundle.Entry) { e.Data = 1 }), no, "etc/app/conf: has 3 bytes, not 1"},
		{"not there", with(func(e *bundle.Entry) { e.Path = "etc/no" }), no, "etc/no: is not there"},
		{"folder not there", with(func(e *bundle.Entry) { e.Path = "no/no" }), no, "no/no: is not there"},
		{"folder is a file", with(func(e *bundle.Entry) { e.Path = "etc/lines/no" }), no, "etc/lines/no: is not there"},
		{"type", with(func(e *bundle.Entry) { e.Path = "etc/app" }), no, "etc/app: is of type dir, not file"},
		{"a link is no file", with(func(e *bundle.Entry) { e.Path = "etc/app/link" }), no, "etc/app/link: is of type symlink, not file"},
		{"link text", overlay(bundle.Entry{Path: "etc/app/link", Type: bundle.Symlink, Link: "x"}), no, "etc/app/link: leads to conf, not x"},
		{"hard link", overlay(bundle.Entry{Path: "etc/lines", Type: bundle.Hardlink, Link: "etc/app/conf"}), no, "etc/lines: is not the same file as etc/app/conf"},
		{"hard link to nothing", overlay(bundle.Entry{Path: "etc/lines", Type: bundle.Hardlink, Link: "etc/no"}), no, "etc/lines: etc/no: is not there"},
		{"no such contents", with(func(e *bundle.Entry) { e.Data = 9 }), unknown, "etc/app/conf: no contents with the number 9"},
		{"parameters", with(func(e *bundle.Entry) { e.Expand = true }), unknown, "etc/app/conf: its contents depend on parameters that are not known here"},
		{"deleted", bundle.Payload{Overlay: &bundle.Overlay{Delete: []string{"etc/no", "no/no", "etc/lines/no"}}}, yes, ""},
		{"not deleted", bundle.Payload{Overlay: &bundle.Overlay{Delete: []string{"etc/no", "etc/app"}}}, no, "etc/app: is there"},
		{"line", line(bundle.Line{Path: "etc/lines", Line: "two"}), yes, ""},
		{"no line", line(bundle.Line{Path: "etc/lines", Line: "three", Match: "t"}), no, "etc/lines: does not have the lines that it should have"},
		{"line absent", line(bundle.Line{Path: "etc/lines", Match: "three", Absent: true}), yes, ""},
		{"line not absent", line(bundle.Line{Path: "etc/lines", Match: "two", Absent: true}), no, "etc/lines: does not have the lines that it should have"},
		{"no file for a line", line(bundle.Line{Path: "etc/no", Line: "a", Create: true}), no, "etc/no: is not there"},
		{"no file, no line", line(bundle.Line{Path: "etc/no", Match: "a", Absent: true}), yes, ""},
		{"line of UTF-16", line(bundle.Line{Path: "etc/utf16", Line: "a"}), unknown, "etc/utf16: cannot be edited: a file in UTF-16"},
		{"line of a directory", line(bundle.Line{Path: "etc", Line: "a"}), unknown, "not a regular file"},
		{"ini", ini(bundle.Ini{Path: "etc/app.ini", Section: "a", Key: "b", Value: "c"}), yes, ""},
		{"ini below a link", ini(bundle.Ini{Path: "etc/app/link", Key: "b", Value: "c"}), no, "etc/app/link: does not have the lines that it should have"},
		{"other value", ini(bundle.Ini{Path: "etc/app.ini", Section: "a", Key: "b", Value: "d"}), no, "etc/app.ini: does not have the lines that it should have"},
		{"deb", deb("bash", "5.2.15-2+b7", "amd64"), yes, ""},
		{"newer deb", deb("bash", "5.2.15-2", "amd64"), yes, ""},
		{"deb for all", deb("held", "1:1.0", "all"), yes, ""},
		{"older deb", deb("bash", "5.3", "amd64"), no, "package bash: 5.2.15-2+b7 is installed, older than 5.3"},
		{"deb of another architecture", deb("bash", "5.2", "arm64"), no, "package bash: is not installed"},
		{"no deb", deb("half", "1", "amd64"), no, "package half: is not installed"},
		{"odd deb", deb("odd", "1", "amd64"), unknown, "package odd: package odd: malformed version"},
		{"odd wish", deb("bash", "1_0", "amd64"), unknown, "package bash: range \">=1_0\": malformed version"},
		{"rpm", bundle.Payload{RPM: []bundle.Package{{Name: "bash", Version: "5.1-1", Arch: "x86_64"}}}, no, "package bash: is not installed"},
	}
	for _, tt := range tests {
		m := payloadOf([]string{"on\n", "x", "no\n"}, tt.payload)
		got, reason := p.Payload(t.Context(), m, PayloadOptions{})
		if got != tt.want || !strings.Contains(reason, tt.reason) || (reason == "") != (got == yes) {
			t.Errorf("%s: %v, %q, want %v, %q", tt.name, got, reason, tt.want, tt.reason)
		}
	}
	if got, reason := p.Payload(t.Context(), &bundle.Manifest{}, PayloadOptions{}); got != unknown || reason != "the bundle has no payload to compare" {
		t.Errorf("without a payload: %v, %q, want unknown", got, reason)
	}
}

// TestPayloadOrder holds that no outranks unknown, whatever comes first.
func TestPayloadOrder(t *testing.T) {
	p := probesOf(t, tree{"a": "1", "dir/": ""})
	right := overlay(bundle.Entry{Path: "a", Type: bundle.RegularFile, Mode: 0o644})
	wrong := bundle.Payload{Overlay: &bundle.Overlay{Delete: []string{"a"}}}
	unreadable := bundle.Payload{Line: &bundle.Line{Path: "dir", Line: "a"}}
	tests := []struct {
		payload []bundle.Payload
		want    condition.Verdict
		reason  string
	}{
		{[]bundle.Payload{right, right}, condition.Yes, ""},
		{[]bundle.Payload{right, unreadable}, condition.Unknown, "dir: "},
		{[]bundle.Payload{unreadable, right}, condition.Unknown, "dir: "},
		{[]bundle.Payload{unreadable, wrong}, condition.No, "a: is there"},
		{[]bundle.Payload{wrong, unreadable}, condition.No, "a: is there"},
	}
	for i, tt := range tests {
		if got, reason := p.Payload(t.Context(), payloadOf([]string{"1"}, tt.payload...), PayloadOptions{}); got != tt.want || !strings.HasPrefix(reason, tt.reason) {
			t.Errorf("%d: %v, %q, want %v, %q", i, got, reason, tt.want, tt.reason)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, reason := p.Payload(ctx, payloadOf([]string{"1"}, right), PayloadOptions{}); got != condition.Unknown || !strings.Contains(reason, "canceled") {
		t.Errorf("after the end: %v, %q, want unknown", got, reason)
	}
}

func TestPayloadParameters(t *testing.T) {
	p := probesOf(t, tree{"a": "name=pc-1\n"})
	m := payloadOf([]string{"name={{NAME}}\n"}, overlay(bundle.Entry{Path: "a", Type: bundle.RegularFile, Mode: 0o644, Expand: true}))
	for name, want := range map[string]condition.Verdict{"pc-1": condition.Yes, "pc-2": condition.No} {
		opt := PayloadOptions{Expanded: func(_ context.Context, e bundle.Entry) (string, error) {
			if e.Path != "a" {
				return "", fmt.Errorf("asked for %s", e.Path)
			}
			return sum("name=" + name + "\n"), nil
		}}
		if got, reason := p.Payload(t.Context(), m, opt); got != want {
			t.Errorf("with %s: %v, %q, want %v", name, got, reason, want)
		}
	}
	failing := PayloadOptions{Expanded: func(context.Context, bundle.Entry) (string, error) { return "", errors.New("no parameter NAME") }}
	if got, reason := p.Payload(t.Context(), m, failing); got != condition.Unknown || reason != "a: no parameter NAME" {
		t.Errorf("without a parameter: %v, %q, want unknown", got, reason)
	}
}

// TestRootPayload has owners and attributes.
func TestRootPayload(t *testing.T) {
	lab.Root(t)
	dir := t.TempDir()
	lab.Plant(t, dir, tree{"a": "1"})
	file := filepath.Join(dir, "a")
	if err := os.Chown(file, 7, 8); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(file, "trusted.slipcast", []byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	p := New(open(t, dir), nil)
	e := bundle.Entry{Path: "a", Type: bundle.RegularFile, Mode: 0o644, UID: 7, GID: 8}
	with := func(uid, gid uint32, xattrs ...bundle.Xattr) bundle.Payload {
		e := e
		e.UID, e.GID, e.Xattrs = uid, gid, xattrs
		return bundle.Payload{Overlay: &bundle.Overlay{Entries: []bundle.Entry{e}}}
	}
	tests := []struct {
		payload bundle.Payload
		want    condition.Verdict
		reason  string
	}{
		{with(7, 8), condition.Yes, ""},
		{with(7, 9), condition.No, "a: belongs to 7:8, not 7:9"},
		{with(0, 8), condition.No, "a: belongs to 7:8, not 0:8"},
		{with(7, 8, bundle.Xattr{Name: "trusted.slipcast", Value: []byte("x")}), condition.Yes, ""},
		{with(7, 8, bundle.Xattr{Name: "trusted.slipcast", Value: []byte("y")}), condition.No, "a: has another attribute trusted.slipcast"},
		{with(7, 8, bundle.Xattr{Name: "trusted.other", Value: nil}), condition.No, "a: has another attribute trusted.other"},
	}
	for _, tt := range tests {
		if got, reason := p.Payload(t.Context(), payloadOf([]string{"1"}, tt.payload), PayloadOptions{}); got != tt.want || reason != tt.reason {
			t.Errorf("%v, %q, want %v, %q", got, reason, tt.want, tt.reason)
		}
	}
	if got, err := p.Probe(t.Context(), "owner", "a"); got != "7:8" || err != nil {
		t.Errorf("owner = %v, %v, want 7:8", got, err)
	}
}
