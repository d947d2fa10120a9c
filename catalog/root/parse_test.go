package root

import (
	"strings"
	"testing"
	"time"
)

// old0 is a time long ago.
func old0() time.Time { return time.Unix(500, 0) }

func TestParseMounts(t *testing.T) {
	table := "22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n" +
		"36 22 98:0 /sub /mnt\\040x ro,noatime master:1 propagate_from:2 - xfs /dev/a\\134b rw,attr2\n" +
		"40 22 0:5 / /z rw - vfat /dev/loop1 ro,codepage=437\n"
	got, err := parseMounts(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[uint64]mountLine{
		22: {22, false, "ext4", "/dev/vda"}, 36: {36, true, "xfs", `/dev/a\b`}, 40: {40, true, "vfat", "/dev/loop1"},
	} {
		if got[id] != want {
			t.Errorf("mount %d is %+v, want %+v", id, got[id], want)
		}
	}
	for _, bad := range []string{"", "22 1 253:0 / / rw", "x 1 253:0 / / rw - ext4 a rw", "22 1 253:0 / / rw - ext4 a"} {
		if _, err := parseMounts(strings.NewReader(bad + "\n")); err == nil {
			t.Errorf("parseMounts(%q) succeeds, want an error", bad)
		}
	}
}

func FuzzParseMounts(f *testing.F) {
	f.Add("22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw")
	f.Fuzz(func(t *testing.T, line string) {
		m, ok := parseMount(line)
		if ok && strings.ContainsAny(m.fsType, " ") && !strings.Contains(line, `\`) {
			t.Errorf("type %q of %q has a blank that nobody escaped", m.fsType, line)
		}
	})
}

func TestParseFstab(t *testing.T) {
	text := `# a comment
UUID=a-b /boot/efi vfat umask=0077 0 1
UUID="q" / ext4 errors=remount-ro 0 1
LABEL=x\040y	/with\040blank ext4
/dev/sda5 none swap sw 0 0
proc /proc proc defaults 0 0
tmpfs /tmp tmpfs nosuid 0 0
server:/home /home nfs defaults 0 0
/srv/a /srv/b none bind 0 0
PARTUUID=z /boot ext4 noauto,nofail 0 2
UUID=e /../etc ext4 defaults 0 0
short /x
`
	var got []string
	for _, l := range parseFstab([]byte(text)) {
		got = append(got, l.spec+" "+l.path+" "+strings.Join(l.options, ","))
	}
	want := []string{
		`UUID="q" . errors=remount-ro`, "PARTUUID=z boot noauto,nofail", "UUID=a-b boot/efi umask=0077", "LABEL=x y with blank defaults",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("lines are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func FuzzParseFstab(f *testing.F) {
	f.Add([]byte("UUID=a /boot ext4 defaults 0 2\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		last := ""
		for _, l := range parseFstab(text) {
			if names, err := clean(l.path); err != nil || l.path != "." && strings.Join(names, "/") != l.path {
				t.Errorf("%q has the path %q, which is not a clean one", text, l.path)
			}
			if l.path < last {
				t.Errorf("%q: %q comes after %q", text, l.path, last)
			}
			last = l.path
		}
	})
}

// TestVolumeIs: what fstab calls a volume.
func TestVolumeIs(t *testing.T) {
	v := &probed{
		Volume: Volume{Number: 2, PartUUID: "0A0B-02", PartLabel: "EFI system"},
		uuid:   "1111-AAAA", label: "root",
	}
	for spec, want := range map[string]bool{
		"UUID=1111-aaaa": true, `UUID="1111-AAAA"`: true, "LABEL=root": true, "LABEL=ROOT": false, "PARTUUID=0a0b-02": true,
		"PARTLABEL=EFI system": true, "/dev/disk/by-uuid/1111-AAAA": true, "/dev/disk/by-label/root": true, "/dev/disk/by-partuuid/0a0b-02": true,
		"/dev/sda2": true, "/dev/nvme0n1p2": true, "/dev/sda3": false, "/dev/sdb2": false, "/dev/sda22": false, "UUID=": false, "LABEL=": false, "": false,
		"/dev/mapper/vg-root": false, "X=1111-aaaa": false,
	} {
		if got := v.is(spec); got != want {
			t.Errorf("is(%q) = %v, want %v", spec, got, want)
		}
	}
	if (&probed{}).is("UUID=") || (&probed{}).is("/dev/sda") {
		t.Error("a volume without names is meant, want none")
	}
}
