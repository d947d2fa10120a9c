package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	debversion "slipcast/catalog/version"
	"slipcast/internal/lab"
	"slipcast/pxe/debian"
)

// Packages of Debian, and a unit, are baked into the image of a real Debian,
// which then runs them on a machine; what is undone on its disk is as before.
func TestQEMUCatalog(t *testing.T) {
	r := newQEMURoom(t)
	c := newQEMUCatalog(r)
	packages := c.fetch("tzdata", "netcat-traditional")
	c.release(c.update(packages), c.report())
	r.phase("two bundles are released, with packages from " + packages[0].Suite)
	if plan := r.slipcast("catalog", "plan", "--image", "debian"); strings.Count(plan, "@") != 2 {
		t.Errorf("the plan is\n%swant both bundles", plan)
	}
	r.phase("the image is looked at")
	c.bake()
	m := c.machine()
	m.on()
	c.wantReport(m, `tzdata=(\S+) netcat=(\S+) nc=(\S+) hosts=(\d)`, packages[0].Version.String(), packages[1].Version.String(), "[v"+packages[1].Version.String()+"]", "1")
	r.phase("a machine runs what was baked")
	m.kill()
	r.slipcast("catalog", "undo", "tzdata-update", "--disk", m.disks[0], "--yes")
	r.phase("the update is undone on its disk")
	m.on()
	c.wantReport(m, `tzdata=(\S+) netcat=(\S+) nc=(\S+) hosts=(\d)`, c.old, "none", "none", "0")
	r.phase("the machine runs what was there before")
}

// A qemuCatalog is a catalog in a store with the image of the room.
type qemuCatalog struct {
	*qemuRoom
	dir string // keys, folders of bundles, and a disk
	old string // the version of tzdata in the image
}

// newQEMUCatalog makes a store of its own for the room's operator. That of the server,
// which others use as well, stays as it is.
func newQEMUCatalog(r *qemuRoom) *qemuCatalog {
	r.t.Helper()
	c := &qemuCatalog{qemuRoom: r, dir: r.t.TempDir()}
	store := filepath.Join(c.dir, "store")
	lab.Run(r.t, "cp", "-a", "--reflink=auto", r.kit.store, store)
	if err := os.RemoveAll(filepath.Join(store, catalogFolder)); err != nil {
		r.t.Fatal(err)
	}
	r.kit.store = store
	r.slipcast("catalog", "init", "--keys", c.dir, "--no-passphrase")
	return c
}

// fetch returns packages of a newer Debian than the image is.
func (c *qemuCatalog) fetch(names ...string) (list []debian.Package) {
	c.t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		c.t.Fatal(err)
	}
	archive, err := debian.Open(c.t.Context(), debian.Source{
		Cache: filepath.Join(cache, "slipcast", "debian"), Suites: []string{"trixie", "trixie-updates", "trixie-security"},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	debs := c.folder("update/debs")
	for _, name := range names {
		p, err := archive.Package(name)
		if err != nil {
			c.t.Fatal(err)
		}
		file, err := archive.Fetch(c.t.Context(), p)
		if err != nil {
			c.t.Fatal(err)
		}
		lab.Run(c.t, "cp", file, debs)
		list = append(list, p)
	}
	return list
}

// update makes the folder of a bundle with packages that run programs when they are installed,
// one of which is older in the image, and the other is not there.
func (c *qemuCatalog) update(packages []debian.Package) string {
	c.write("update/bundle.yaml", 0o644, fmt.Sprintf(`schema: 1
name: tzdata-update
version: %q
scheme: deb
release: 1
title: Time zones
severity: important
family: linux
applies: distro() == "debian" && pkg("tzdata") != ""
detect: {version: pkg("tzdata")}
payload:
  - deb: debs/*.deb
  - line: {path: /etc/hosts, line: 127.0.2.1 catalog.test, after: ^127}
run:
  - phase: post
    exec: [scripts/check]
`, packages[0].Version))
	c.write("update/scripts/check", 0o755, `#!/bin/sh
set -e
[ "$(dpkg-query -W -f '${Version}' tzdata)" = "`+packages[0].Version.String()+`" ]
[ -z "$(dpkg --audit)" ]
grep -q 'catalog\.test$' /etc/hosts
[ "$(readlink -f /bin/nc)" = "$(readlink -f /bin/nc.traditional)" ]
`)
	return "update"
}

// report makes the folder of a bundle whose unit says on the console what the machine has.
func (c *qemuCatalog) report() string {
	c.write("report/bundle.yaml", 0o644, `schema: 1
name: lab-bundle
version: "1"
scheme: dotted
release: 1
family: linux
payload:
  - overlay: {from: files, to: /}
`)
	c.write("report/files/usr/local/sbin/lab-bundle", 0o755, `#!/bin/sh
installed() { dpkg-query -W -f '${Version}' "$1" 2>/dev/null || echo none; }
nc=$(nc -h 2>&1 | head -n 1)
case $nc in "["*) ;; *) nc=none ;; esac
echo "LAB bundle tzdata=$(installed tzdata) netcat=$(installed netcat-traditional) nc=$nc hosts=$(grep -c 'catalog\.test$' /etc/hosts)"
`)
	c.write("report/files/etc/systemd/system/lab-bundle.service", 0o644, `[Unit]
Description=Says on the console what bundles have brought
Before=serial-getty@ttyS0.service
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/lab-bundle
StandardOutput=tty
TTYPath=/dev/console
[Install]
WantedBy=multi-user.target
`)
	wants := c.folder("report/files/etc/systemd/system/multi-user.target.wants")
	if err := os.Symlink("../lab-bundle.service", filepath.Join(wants, "lab-bundle.service")); err != nil {
		c.t.Fatal(err)
	}
	return "report"
}

// folder makes a folder.
func (c *qemuCatalog) folder(name string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// write writes a file.
func (c *qemuCatalog) write(name string, mode os.FileMode, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.folder(filepath.Dir(name)), filepath.Base(name)), []byte(text), mode); err != nil {
		c.t.Fatal(err)
	}
}

// release builds bundles and releases them.
func (c *qemuCatalog) release(folders ...string) {
	c.t.Helper()
	args := []string{"catalog", "release", "--key", filepath.Join(c.dir, "release.key"), "--online-key", filepath.Join(c.dir, onlineFile)}
	for _, folder := range folders {
		file := filepath.Join(c.dir, folder+".slb")
		c.slipcast("bundle", "build", filepath.Join(c.dir, folder), "-o", file)
		args = append(args, file)
	}
	c.slipcast(args...)
}

// bake bakes all that the image lacks, of which the packages must be newer than
// what it has, and releases the child.
func (c *qemuCatalog) bake() {
	c.t.Helper()
	c.old = c.before()
	var made struct {
		Bundles []string
		Version string
		New     int   `json:"new_chunks"`
		Written int64 `json:"written_bytes"`
	}
	if err := json.Unmarshal([]byte(c.slipcast("catalog", "bake", "debian", "debian", "--level", "fast", "--json")), &made); err != nil {
		c.t.Fatal(err)
	}
	if len(made.Bundles) != 2 || made.Version != "2" {
		c.t.Fatalf("baked %+v, want two bundles in version 2", made)
	}
	c.phase(fmt.Sprintf("baked, %d chunks and %d KiB are new", made.New, made.Written>>10))
	c.slipcast("catalog", "release", "--image", "debian@2", "--key", filepath.Join(c.dir, "release.key"), "--online-key", filepath.Join(c.dir, onlineFile))
	list := c.slipcast("catalog", "list", "--json")
	if want := regexp.MustCompile(`"bundles":\[[^]]*"tzdata-update@[^]]*\].*"image":"debian@2".*"parent":"[0-9a-f]{64}"`); !want.MatchString(list) {
		c.t.Errorf("the list is\n%swant %s", list, want)
	}
}

// before returns the version of tzdata in the image, which must be older than that of the bundle.
func (c *qemuCatalog) before() string {
	c.t.Helper()
	text := c.slipcast("catalog", "plan", "--image", "debian", "--json")
	p := regexp.MustCompile(`"bundle":"tzdata-update@([^"]+)-1",.*"from":"([^"]+)"`).FindStringSubmatch(text)
	if p == nil {
		c.t.Fatalf("the plan is\n%swant an update of tzdata from an older version", text)
	}
	now, err := debversion.Parse("deb", p[2])
	if err != nil {
		c.t.Fatal(err)
	}
	next, err := debversion.Parse("deb", p[1])
	if err != nil {
		c.t.Fatal(err)
	}
	if order, err := now.Compare(next); err != nil || order >= 0 {
		c.t.Fatalf("the image has tzdata %s, want it older than %s", now, next)
	}
	return p[2]
}

// machine returns a machine with the child on its disk, which starts from that at once: its
// firmware has been told nothing.
func (c *qemuCatalog) machine() *qemuMachine {
	c.t.Helper()
	disk := filepath.Join(c.dir, "disk.raw")
	c.slipcast("restore", "debian@2", disk, "--yes")
	c.phase("restored")
	m := c.qemuRoom.machine(6, "uefi", []string{disk})
	lab.Run(c.t, "cp", "/usr/share/OVMF/OVMF_VARS_4M.fd", filepath.Join(m.dir, "6.vars"))
	return m
}

// wantReport waits for what the machine's unit says.
func (c *qemuCatalog) wantReport(m *qemuMachine, pattern string, want ...string) {
	c.t.Helper()
	_, got := m.await("LAB bundle " + pattern)
	for i, w := range want {
		if got[i+1] != w {
			c.t.Errorf("%s says %q, want %q in place %d", m.name, got[0], w, i+1)
		}
	}
}
