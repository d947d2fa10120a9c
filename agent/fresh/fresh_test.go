package fresh

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// linux is a Linux system with everything that is made fresh.
func linux() map[string]string {
	return map[string]string{
		"etc/os-release":                               "ID=test\n",
		"etc/hostname":                                 "golden\n",
		"etc/hosts":                                    "127.0.0.1\tlocalhost\n127.0.1.1\tgolden.example.org golden\n# end\n",
		"etc/machine-id":                               "0123456789abcdef0123456789abcdef\n",
		"etc/ssh/ssh_host_rsa_key":                     "old",
		"etc/ssh/ssh_host_rsa_key.pub":                 "old",
		"etc/ssh/ssh_host_ed25519_key":                 "old",
		"etc/ssh/ssh_host_dsa_key":                     "old",
		"etc/ssh/sshd_config":                          "Port 22\n",
		"etc/udev/rules.d/70-persistent-net.rules":     "eth0",
		"etc/udev/rules.d/99-other.rules":              "other",
		"usr/lib/systemd/systemd":                      "program",
		"lib":                                          "-> usr/lib",
		"var/lib/dbus/machine-id":                      "0123456789abcdef0123456789abcdef\n",
		"var/lib/systemd/random-seed":                  "seed",
		"var/lib/systemd/credential.secret":            "secret",
		"var/lib/systemd/timers/stamp":                 "",
		"var/lib/dhcp/dhclient.leases":                 "lease",
		"var/lib/dhcp/kept/file":                       "not a lease",
		"var/lib/NetworkManager/internal-1-eth0.lease": "lease",
		"var/lib/NetworkManager/timestamps":            "1",
		"var/lib/cloud/instance":                       "-> instances/i-1",
		"var/lib/cloud/instances/i-1/sem/config":       "done",
		"var/lib/cloud/data/instance-id":               "i-1",
		"var/lib/cloud/seed/nocloud/meta-data":         "kept",
		"home/user/etc/hostname":                       "not this one",
		"srv/data":                                     strings.Repeat("data", 1000),
	}
}

// madeFresh are the paths that Run removes from linux, and those it changes.
func madeFresh() (removed, changed []string) {
	return []string{
			"etc/ssh/ssh_host_dsa_key", "etc/udev/rules.d/70-persistent-net.rules", "var/lib/dbus/machine-id",
			"var/lib/systemd/random-seed", "var/lib/systemd/credential.secret", "var/lib/dhcp/dhclient.leases",
			"var/lib/NetworkManager/internal-1-eth0.lease", "var/lib/cloud/instance", "var/lib/cloud/instances",
			"var/lib/cloud/instances/i-1", "var/lib/cloud/instances/i-1/sem", "var/lib/cloud/instances/i-1/sem/config",
			"var/lib/cloud/data/instance-id",
		}, []string{
			"etc/hostname", "etc/hosts", "etc/machine-id",
			"etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub", "etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub",
		}
}

// sameButNamed compares two trees but for what Run changes in them.
func sameButNamed(t *testing.T, got, before map[string]string) {
	t.Helper()
	removed, changed := madeFresh()
	for _, path := range removed {
		if got[path] != "" {
			t.Errorf("%s is still there", path)
		}
		delete(before, path)
	}
	for _, path := range changed {
		if got[path] == "" || got[path] == before[path] {
			t.Errorf("%s is %q as before", path, got[path])
		}
		delete(before, path)
		delete(got, path)
	}
	lab.SameTree(t, got, before)
}

// renew makes the system at dir fresh.
func renew(t testing.TB, dir string, opt Options) (*run, []error) {
	t.Helper()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r := &run{opt: opt, log: slog.New(slog.DiscardHandler)}
	under, ok := systemIn(root)
	if !ok {
		t.Fatal("this is no Linux system")
	}
	s := &system{run: r, root: root, name: "partition 1", under: under}
	s.renew()
	return r, s.errs
}

func read(t testing.TB, path ...string) string {
	t.Helper()
	p, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(p)
}

// checkIdentity looks at what the files of linux have become for pc1.
func checkIdentity(t *testing.T, dir string) {
	t.Helper()
	for path, want := range map[string]string{
		"etc/hostname":   "pc1\n",
		"etc/hosts":      "127.0.0.1\tlocalhost\n127.0.1.1\tpc1.example.org\tpc1\n# end\n",
		"etc/machine-id": noMachineID,
	} {
		if got := read(t, dir, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	checkHostKey(t, filepath.Join(dir, "etc/ssh/ssh_host_rsa_key"), "ssh-rsa", "root@pc1")
	checkHostKey(t, filepath.Join(dir, "etc/ssh/ssh_host_ed25519_key"), "ssh-ed25519", "root@pc1")
}

func TestRenew(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, linux())
	before := lab.Tree(t, dir)
	r, errs := renew(t, dir, Options{Hostname: "pc1", Fresh: true})
	if len(errs) > 0 || len(r.result.Notes) > 0 {
		t.Errorf("errors %v, notes %q", errs, r.result.Notes)
	}
	checkIdentity(t, dir)
	sameButNamed(t, lab.Tree(t, dir), before)
	if want := "partition 1: etc/hostname"; !slices.Contains(r.result.Changed, want) {
		t.Errorf("changed are %q, without %q", r.result.Changed, want)
	}
}

// A second run changes the keys alone, and clears away what a power cut left.
func TestRenewAgain(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, linux())
	opt := Options{Hostname: "pc1", Fresh: true}
	renew(t, dir, opt)
	before := lab.Tree(t, dir)
	lab.Plant(t, dir, map[string]string{"etc/hostname" + partial: "p", "etc/machine-id" + partial: ""})
	r, errs := renew(t, dir, opt)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if want := "partition 1: etc/ssh/ssh_host_"; slices.ContainsFunc(r.result.Changed, func(c string) bool { return !strings.HasPrefix(c, want) }) {
		t.Errorf("changed again: %q", r.result.Changed)
	}
	got := lab.Tree(t, dir)
	for path := range got {
		if strings.HasPrefix(path, "etc/ssh/ssh_host_") {
			got[path] = before[path]
		}
	}
	lab.SameTree(t, got, before)
}

func TestRenewNameAlone(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, linux())
	before := lab.Tree(t, dir)
	r, errs := renew(t, dir, Options{Hostname: "pc2.other.net"})
	if len(errs) > 0 || len(r.result.Changed) != 2 {
		t.Errorf("errors %v, changed %q, want hosts and hostname", errs, r.result.Changed)
	}
	if got, want := read(t, dir, "etc/hosts"), "127.0.1.1\tpc2.other.net\tpc2\n"; !strings.Contains(got, want) {
		t.Errorf("hosts is %q, want %q in it", got, want)
	}
	got := lab.Tree(t, dir)
	for _, path := range []string{"etc/hosts", "etc/hostname"} {
		got[path] = before[path]
	}
	lab.SameTree(t, got, before)
}

func TestRenewWithoutSystemd(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, map[string]string{"etc/passwd": "root", "etc/machine-id": "0123456789abcdef0123456789abcdef\n"})
	if _, errs := renew(t, dir, Options{Fresh: true}); len(errs) > 0 {
		t.Fatal(errs)
	}
	lab.SameTree(t, lab.Tree(t, filepath.Join(dir, "etc")), map[string]string{".": "directory", "passwd": lab.Tree(t, dir)["etc/passwd"]})
}

// A volume that is the /var of a system has only that part.
func TestRenewVar(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, map[string]string{
		"cache/": "", "log/": "", "spool/": "", "lib/dhcp/x.leases": "", "lib/systemd/random-seed": "", "lib/dbus/machine-id": "x",
	})
	r, errs := renew(t, dir, Options{Hostname: "pc1", Fresh: true})
	want := []string{"partition 1: lib/dbus/machine-id", "partition 1: lib/systemd/random-seed", "partition 1: lib/dhcp/x.leases"}
	if len(errs) > 0 || !slices.Equal(r.result.Changed, want) {
		t.Errorf("changed %q, %v, want %q", r.result.Changed, errs, want)
	}
	if r.linux {
		t.Error("a /var alone counts as a Linux system")
	}
}

// Ownership, mode and label are those of the file that was there.
func TestReplaceKeepsAccess(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, map[string]string{"x": "old"})
	name := filepath.Join(dir, "x")
	if err := os.Chmod(name, 0o640); err != nil {
		t.Fatal(err)
	}
	d := openDir(t, dir)
	if changed, err := d.replace("x", []byte("new"), 0o777); !changed || err != nil {
		t.Fatalf("replace = %v, %v", changed, err)
	}
	st, err := os.Stat(name)
	if err != nil || st.Mode() != 0o640 || read(t, name) != "new" {
		t.Errorf("x is %v, %v, %q, want -rw-r----- and new", st, err, read(t, name))
	}
}

func openDir(t testing.TB, dir string) *folder {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &folder{f, ""}
}

// Whatever an image has in the place of a file, nothing outside is touched and
// it is left as it is.
func TestHostile(t *testing.T) {
	outside := t.TempDir()
	lab.Plant(t, outside, map[string]string{"etc/hostname": "outside", "victim": "outside", "lib/dhcp/x": "outside"})
	before := lab.Tree(t, outside)
	tests := []struct {
		name string
		bad  map[string]string
		note string
	}{
		{"link to a device", map[string]string{"etc/hostname": "-> /dev/sda"}, "etc/hostname is left as it is: no plain file"},
		{"link out by dots", map[string]string{"etc/hostname": "-> ../../../../../../.." + outside + "/victim"}, "no plain file"},
		{"link out", map[string]string{"etc/machine-id": "-> " + outside + "/victim", "etc/systemd/system/": ""}, "etc/machine-id is left"},
		{"folder", map[string]string{"etc/hosts/x": "x"}, "etc/hosts is left as it is: no plain file"},
		{"huge", map[string]string{"etc/hosts": strings.Repeat("127.0.1.1 x\n", 100000)}, "etc/hosts is left as it is: 1200000 bytes"},
		{"folder that leads out", map[string]string{"var/lib": "-> " + outside + "/lib"}, "var/lib/dhcp is left as it is: there is a symbolic link"},
		{"folder that leads elsewhere", map[string]string{"var/lib/dhcp": "-> /etc"}, "var/lib/dhcp is left as it is: "},
		{"keys that lead out", map[string]string{"etc/ssh": "-> " + outside}, "etc/ssh is left as it is: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			lab.Plant(t, dir, map[string]string{"etc/passwd": "root"})
			lab.Plant(t, dir, tt.bad)
			was := lab.Tree(t, dir)
			r, errs := renew(t, dir, Options{Hostname: "pc1", Fresh: true})
			if len(errs) > 0 || !strings.Contains(strings.Join(r.result.Notes, "\n"), tt.note) {
				t.Errorf("notes %q, errors %v, want %q", r.result.Notes, errs, tt.note)
			}
			got := lab.Tree(t, dir)
			if _, ok := was["etc/hostname"]; !ok {
				delete(got, "etc/hostname") // is made
			}
			lab.SameTree(t, got, was)
			lab.SameTree(t, lab.Tree(t, outside), before)
		})
	}
}

func TestHostileFIFO(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, map[string]string{"etc/passwd": "root"})
	for _, name := range []string{"etc/hosts", "etc/hostname", "etc/machine-id"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	r, errs := renew(t, dir, Options{Hostname: "pc1", Fresh: true})
	if len(errs) > 0 || len(r.result.Changed) > 0 || len(r.result.Notes) != 3 {
		t.Errorf("notes %q, changed %q, errors %v, want three notes", r.result.Notes, r.result.Changed, errs)
	}
}

// An /etc that is a link is none: its root would be anywhere.
func TestNoSystem(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"link":   {"etc": "-> /", "passwd": "x"},
		"empty":  {"etc/": ""},
		"data":   {"home/etc/passwd": "x"},
		"no var": {"lib/": "", "cache/": "", "log/": ""},
	} {
		dir := t.TempDir()
		lab.Plant(t, dir, files)
		if under, ok := systemIn(openDir(t, dir).File); ok {
			t.Errorf("%s: systemIn = %q, %v, want no system", name, under, ok)
		}
	}
}

func TestRemoveAllDepth(t *testing.T) {
	dir := t.TempDir()
	lab.Plant(t, dir, map[string]string{"x/" + strings.Repeat("d/", maxDepth) + "file": ""})
	if err := openDir(t, dir).removeAll("x", maxDepth); err == nil || !strings.Contains(err.Error(), "too deep") {
		t.Errorf("removeAll = %v, want too deep", err)
	}
}

func TestBadOptions(t *testing.T) {
	table := &partition.Table{Kind: partition.None}
	for want, opt := range map[string]Options{
		"no partition table": {},
		"is no host name":    {Table: table, Hostname: "a\nb"},
		"want at most":       {Table: table, Answer: strings.Repeat("x", maxAnswer+1)},
		"no host name for":   {Table: table, Answer: hostnameMark},
	} {
		if _, err := Run(t.Context(), opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run = %v, want %q", err, want)
		}
	}
}
