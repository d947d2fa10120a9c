package kmod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

// index returns an index of these files.
func index(t *testing.T, files map[string]string) *Index {
	t.Helper()
	folder := fstest.MapFS{}
	for name, text := range files {
		folder[name] = &fstest.MapFile{Data: []byte(text)}
	}
	x, err := ReadIndex(folder)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

var files = map[string]string{
	"modules.dep": `kernel/net/r8169.ko: kernel/net/mdio_devres.ko kernel/net/libphy.ko
kernel/net/mdio_devres.ko: kernel/net/libphy.ko
kernel/net/libphy.ko:
kernel/net/realtek.ko: kernel/net/libphy.ko
kernel/a.ko:
kernel/b.ko:
kernel/fs/nls/nls_iso8859-1.ko:
kernel/usb.ko:
../../outside.ko:
`,
	"modules.alias": `# Aliases
alias pci:v000010ECd00008168sv*sd*bc*sc*i* r8169
alias pci:v00001022d*sv*sd*bc01sc06i[0-4]* ahci
alias usb:v*p*d*dc*dsc*dp*ic08isc06ip50in* usb
alias crypto-crc32c a
alias *-zz never-loaded
`,
	"modules.softdep": "softdep r8169 pre: realtek\nsoftdep a pre: b\nsoftdep b pre: a post: nls_iso8859-1\n",
	"modules.builtin": "kernel/block/sd_mod.ko\n",
}

// A kernel remembers what was inserted.
type kernel struct {
	mu   sync.Mutex
	list []string
	fail map[string]error
}

func (k *kernel) insert(file string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, ModuleName(file))
	return k.fail[ModuleName(file)]
}

func TestLoadOrder(t *testing.T) {
	tests := []struct{ alias, want string }{
		{"pci:v000010ECd00008168sv00001043sd000085C8bc02sc00i00", "libphy mdio_devres realtek r8169"},
		{"r8169", "libphy mdio_devres realtek r8169"},
		{"usb:v0781p5567d0100dc00dsc00dp00ic08isc06ip50in00", "usb"},
		{"nls_iso8859-1", "nls_iso8859_1"},
		{"crypto-crc32c", "b nls_iso8859_1 a"}, // a and b want each other
	}
	for _, tt := range tests {
		t.Run(tt.alias, func(t *testing.T) {
			var k kernel
			if err := NewLoader(index(t, files), k.insert).Load(tt.alias); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(k.list, " "); got != tt.want {
				t.Errorf("inserted %s, want %s", got, tt.want)
			}
		})
	}
}

func TestLoadWhatIsNotThere(t *testing.T) {
	var k kernel
	l := NewLoader(index(t, files), k.insert)
	for _, alias := range []string{"", "pci:v00009999d", "outside", "ahci", "pci:v00001022d00007901sv0sd0bc01sc06i01"} {
		if err := l.Load(alias); !errors.Is(err, ErrNoModule) {
			t.Errorf("Load(%q) = %v, want ErrNoModule", alias, err)
		}
	}
	if err := l.Load("sd_mod"); err != nil || len(k.list) > 0 {
		t.Errorf("Load(sd_mod) = %v and inserts %s; it is built in", err, k.list)
	}
}

// A module is not tried without what it needs, but without what it would like
// to have. One that is there already is no failure.
func TestLoadFailures(t *testing.T) {
	k := kernel{fail: map[string]error{"mdio_devres": errors.New("boom"), "realtek": errors.New("bang"), "libphy": fs.ErrExist}}
	l := NewLoader(index(t, files), k.insert)
	if err := l.Load("r8169"); err == nil || err.Error() != "r8169: needs mdio_devres: boom" {
		t.Errorf("Load = %v, want that it needs mdio_devres", err)
	}
	if slices.Contains(k.list, "r8169") {
		t.Errorf("inserted %s; r8169 lacks what it needs", k.list)
	}
	delete(k.fail, "mdio_devres")
	l = NewLoader(index(t, files), k.insert)
	if err := l.Load("r8169"); err != nil {
		t.Errorf("Load without the soft dependency = %v", err)
	}
	if got := l.Notes(); !slices.Equal(got, []string{"realtek: bang"}) {
		t.Errorf("notes = %q, want realtek: bang", got)
	}
}

// Whoever asks for a module that is just being inserted waits for it, and
// nothing is inserted twice, however many ask for modules that want each other.
func TestLoadSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k kernel
		slow := func(file string) error {
			time.Sleep(time.Second)
			return k.insert(file)
		}
		l := NewLoader(index(t, files), slow)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { l.Load([]string{"a", "b", "r8169", "realtek"}[i%4]) })
		}
		all.Wait()
		slices.Sort(k.list)
		if got, want := strings.Join(k.list, " "), "a b libphy mdio_devres nls_iso8859_1 r8169 realtek"; got != want {
			t.Errorf("inserted %s, want each once: %s", got, want)
		}
	})
}

// A bus that shows up after its controller's module is loaded is seen, too.
func TestColdplug(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sys := fstest.MapFS{
			"devices/pci0/modalias": &fstest.MapFile{Data: []byte("pci:v000010ECd00008168sv0sd0bc02sc00i00\n")},
			"devices/pci0/other":    &fstest.MapFile{Data: []byte("x")},
		}
		var k kernel
		insert := func(file string) error {
			if ModuleName(file) == "r8169" {
				sys["devices/pci0/usb1/modalias"] = &fstest.MapFile{Data: []byte("usb:v1p1d1dc1dsc1dp1ic08isc06ip50in0\n")}
			}
			return k.insert(file)
		}
		l := NewLoader(index(t, files), insert)
		got := l.Coldplug(context.Background(), sys, time.Second)
		if len(got) != 2 || !slices.Contains(k.list, "usb") {
			t.Errorf("Coldplug = %q and inserts %s, want both devices and usb", got, k.list)
		}
		if n := l.LoadAll(got); n != 0 {
			t.Errorf("LoadAll of the same = %d new ones, want 0", n)
		}
	})
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b", true}, {"a*c", "abbc", true},
		{"a*c", "abbcd", false}, {"*a*b*", "xxaxxbxx", true}, {"?", "", false}, {"?b", "ab", true},
		{"[0-9]x", "5x", true}, {"[0-9]x", "ax", false}, {"[!0-9]", "a", true}, {"[!0-9]", "1", false},
		{"[]]", "]", true}, {"[a", "[a", true}, {"[a", "a", false}, {"[]", "[]", true}, {`\*`, "*", true}, {`\*`, "a", false},
		{`\`, `\`, true}, {"[a-]", "-", true}, {"dmi*:svnDell*:", "dmi:bvn1:svnDellInc:", true},
	}
	for _, tt := range tests {
		if got := match(tt.pattern, tt.s); got != tt.want {
			t.Errorf("match(%q, %q) = %v, want %v", tt.pattern, tt.s, got, tt.want)
		}
	}
}

func TestReadIndexRefuses(t *testing.T) {
	if _, err := ReadIndex(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadIndex of an empty folder = %v, want that modules.dep is missing", err)
	}
}

func TestParseUevent(t *testing.T) {
	u, ok := ParseUevent([]byte("add@/devices/x\x00ACTION=add\x00MODALIAS=usb:v1=2\x00bad\x00"))
	if !ok || u.Action != "add" || u.Path != "/devices/x" || u.Env["MODALIAS"] != "usb:v1=2" || len(u.Env) != 2 {
		t.Errorf("ParseUevent = %+v, %v", u, ok)
	}
	for _, p := range []string{"", "add", "@/x", "add@x", "libudev\x00\xfe\xed\xca\xfe"} {
		if u, ok := ParseUevent([]byte(p)); ok {
			t.Errorf("ParseUevent(%q) = %+v, want none", p, u)
		}
	}
}

// A pattern that is a text with its special bytes escaped matches that text
// and no longer one; and matching ends.
func FuzzMatch(f *testing.F) {
	f.Add("pci:v*[0-9]", "pci:v8")
	f.Add("[!a-", "[!]]*?\\")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		match(pattern, s)
		var escaped strings.Builder
		for i := range len(s) {
			escaped.WriteByte('\\')
			escaped.WriteByte(s[i])
		}
		if !match(escaped.String(), s) || match(escaped.String(), s+"x") {
			t.Errorf("%q does not match itself alone", s)
		}
		if !match("*"+escaped.String()+"*", "x"+s+"y") {
			t.Errorf("*%q* does not match", s)
		}
	})
}

// Whatever the index says, what is loaded lies inside its folder, and each
// module at most once.
func FuzzIndex(f *testing.F) {
	f.Add(files["modules.dep"], files["modules.alias"], files["modules.softdep"], "r8169")
	f.Fuzz(func(t *testing.T, dep, alias, softdep, name string) {
		x, err := ReadIndex(fstest.MapFS{
			"modules.dep": &fstest.MapFile{Data: []byte(dep)}, "modules.alias": &fstest.MapFile{Data: []byte(alias)},
			"modules.softdep": &fstest.MapFile{Data: []byte(softdep)},
		})
		if err != nil {
			return
		}
		seen := map[string]bool{}
		NewLoader(x, func(file string) error {
			if !fs.ValidPath(file) || seen[file] {
				return fmt.Errorf("%q", file)
			}
			seen[file] = true
			return nil
		}).Load(name)
		for file := range seen {
			if !fs.ValidPath(file) {
				t.Errorf("inserted %q", file)
			}
		}
	})
}

func FuzzParseUevent(f *testing.F) {
	f.Add([]byte("add@/devices/x\x00ACTION=add\x00"))
	f.Fuzz(func(t *testing.T, p []byte) {
		u, ok := ParseUevent(p)
		if ok && !strings.HasPrefix(string(p), u.Action+"@"+u.Path) {
			t.Errorf("%q parses to %+v", p, u)
		}
	})
}
