package probe

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

func TestFollow(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, tree{
		"etc/os-release": "-> ../usr/lib/os-release", "usr/lib/os-release": "ID=debian\n", "lib": "-> usr/lib", "var/run": "-> /run", "run/pid": "1",
		"etc/passwd": "inside", "up": "-> ../../../../etc/passwd", "absolute": "-> /etc/passwd", "loop": "-> loop", "ping": "-> pong", "pong": "-> ping",
		"dangling": "-> nowhere/else", "soon": "-> etc/soon", "usr/lib/x/back": "-> ../../../lib/../lib/./os-release", "dots": "-> etc//../etc/./passwd",
		"usr/share/": "", "top": "-> /", "tops": "-> ../..",
	})
	r := open(t, dir)
	tests := []struct{ name, want string }{
		{"etc/passwd", "etc/passwd"}, {"/etc/passwd", "etc/passwd"}, {"//etc/./passwd", "etc/passwd"}, {"etc/../etc/passwd", "etc/passwd"},
		{"../../etc/passwd", "etc/passwd"}, {"etc/os-release", "usr/lib/os-release"}, {"lib/os-release", "usr/lib/os-release"},
		{"var/run/pid", "run/pid"}, {"up", "etc/passwd"}, {"absolute", "etc/passwd"}, {"lib/x/back", "usr/lib/os-release"}, {"dots", "etc/passwd"},
		{"", "."}, {"/", "."}, {"top", "."}, {"tops/etc", "etc"}, {"top/var/run", "run"}, {"nothing", "nothing"}, {"soon", "etc/soon"}, {"usr/share/", "usr/share"},
	}
	for _, tt := range tests {
		if got, err := Follow(r, tt.name); got != tt.want || err != nil {
			t.Errorf("Follow(%q) = %q, %v, want %q", tt.name, got, err, tt.want)
		}
	}
	for _, name := range []string{"dangling", "nothing/at/all"} {
		if got, err := Follow(r, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Follow(%q) = %q, %v, want fs.ErrNotExist", name, got, err)
		}
	}
	for _, name := range []string{"loop", "ping", "a\x00b", strings.Repeat("a/", 4000)} {
		if got, err := Follow(r, name); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Follow(%.20q) = %q, %v, want an error that is not fs.ErrNotExist", name, got, err)
		}
	}
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", maxText+10)
	lab.Plant(t, dir, tree{
		"etc/motd": "hello\n", "etc/long": long, "etc/link": "-> motd", "etc/dangling": "-> no", "etc/loop": "-> loop", "etc/dir/": "", "etc/empty": "",
		"etc/app.ini": "[a]\nkey = value\n", "outside": "-> " + strings.Repeat("../", 30) + "etc/motd",
	})
	if err := os.Chmod(filepath.Join(dir, "etc/motd"), fs.ModeSetuid|0o750); err != nil {
		t.Fatal(err)
	}
	const hello = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	check(t, New(open(t, dir), nil), []expectation{
		{probe: "family", want: "linux"},
		{probe: "exists|etc/motd", want: true}, {probe: "exists|/etc/motd", want: true}, {probe: "exists|etc/link", want: true},
		{probe: "exists|etc/dir", want: true}, {probe: "exists|etc/no", want: false}, {probe: "exists|etc/motd/no", want: false},
		{probe: "exists|etc/dangling", want: false}, {probe: "exists|etc/loop", fault: "more than 40 links"}, {probe: "exists|outside", want: true},
		{probe: "size|etc/motd", want: int64(6)}, {probe: "size|etc/link", want: int64(6)}, {probe: "size|etc/no", want: int64(-1)},
		{probe: "size|etc/empty", want: int64(0)}, {probe: "size|etc/dir", want: int64(0)},
		{probe: "mode|etc/motd", want: "4750"}, {probe: "mode|etc/empty", want: "0644"}, {probe: "mode|etc/no", want: ""},
		{probe: "owner|etc/no", want: ""},
		{probe: "sha256|etc/motd", want: hello}, {probe: "sha256|etc/no", want: ""}, {probe: "sha256|etc/dir", fault: "not a regular file"},
		{probe: "text|etc/motd", want: "hello\n"}, {probe: "text|outside", want: "hello\n"}, {probe: "text|etc/long", want: long[:maxText]},
		{probe: "text|etc/no", want: ""}, {probe: "text|etc/dir", fault: "not a regular file"}, {probe: "text|etc/empty", want: ""},
		{probe: "ini|etc/app.ini|a|key", want: "value"}, {probe: "ini|etc/app.ini|b|key", want: ""}, {probe: "ini|etc/no|a|key", want: ""},
		{probe: "ini|etc/dir|a|key", fault: "not a regular file"},
		{probe: "exists", fault: "wrong number of arguments"}, {probe: "exists|a|b", fault: "wrong number of arguments"},
		{probe: "nothing", fault: `there is no probe "nothing"`},
	})
}

// TestContext holds that an answer that was cut short is not kept.
func TestContext(t *testing.T) {
	p := probesOf(t, tree{"etc/motd": "hello\n"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := p.Probe(ctx, "sha256", "etc/motd"); !errors.Is(err, context.Canceled) {
		t.Errorf("sha256 = %v, %v, want context.Canceled", got, err)
	}
	if got, err := p.Probe(t.Context(), "size", "etc/motd"); got != int64(6) || err != nil {
		t.Errorf("size = %v, %v, want 6", got, err)
	}
	if got, err := p.Probe(t.Context(), "sha256", "etc/motd"); err != nil || len(got.(string)) != 64 {
		t.Errorf("sha256 = %v, %v, want 64 digits", got, err)
	}
}

// TestAnswersAreKept holds that nothing is read twice.
func TestAnswersAreKept(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, tree{"a": "1"})
	p := New(open(t, dir), nil)
	check(t, p, []expectation{{probe: "text|a", want: "1"}})
	lab.Plant(t, dir, tree{"a": "2"})
	check(t, p, []expectation{{probe: "text|a", want: "1"}})
}

func TestProducts(t *testing.T) {
	p := probesOf(t, tree{"etc/reader": "9.3"})
	check(t, p, []expectation{{probe: "product|reader", fault: "not known here"}})
	p.SetProducts(func(ctx context.Context, name string) (string, error) {
		text, err := p.Probe(ctx, "text", "etc/"+name) // detection asks further probes
		return text.(string), err
	})
	check(t, p, []expectation{
		{probe: "product|reader", want: "9.3"}, {probe: "product|writer", want: ""}, {probe: "product", fault: "wrong number of arguments"},
	})
}
