package fsmap

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"slipcast/internal/lab"
)

// blankDisk returns 4 MiB of zeros, and some bytes that nobody claims.
func blankDisk() *overlay {
	o := newOverlay(bytes.NewReader(make([]byte, 4<<20)), 4<<20)
	o.write(1000, []byte("nothing"))
	return o
}

// Every row of the table is found with all of its marks and without any one
// of them is not.
func TestContainers(t *testing.T) {
	for _, c := range containers() {
		t.Run(c.kind, func(t *testing.T) {
			for missing := range len(c.marks) + 1 {
				o := blankDisk()
				base := int64(0)
				if c.at != nil {
					base = c.at(o.size)
				}
				for i, mark := range c.marks {
					if i != missing {
						o.write(base+mark.offset, []byte(mark.bytes))
					} else {
						o.write(base+mark.offset, []byte(strings.Repeat("\x55", len(mark.bytes))))
					}
				}
				m := mapOverlay(t, o)
				if missing == len(c.marks) {
					wantCaptured(t, m, c.kind, c.note)
				} else if m.Type == c.kind {
					t.Errorf("claimed without mark %d", missing)
				}
			}
		})
	}
}

// A superblock of mdraid is found where its version and the size of the
// volume put it, and nowhere else.
func TestRAIDPlaces(t *testing.T) {
	tests := []struct {
		name          string
		size, at      int64
		minor         byte // of version 1, or 90
		super, claims int64
	}{
		{"0.90", 4 << 20, 4<<20 - 65536, 90, 0, 1},
		{"0.90, odd size", 4<<20 - 512, 4<<20 - 131072, 90, 0, 1},
		{"1.0", 4 << 20, 4<<20 - 8192, 0, 8176, 1},
		{"1.0, odd size", 4<<20 - 512, 4<<20 - 12288, 0, 8168, 1},
		{"1.1", 4 << 20, 0, 1, 0, 1},
		{"1.2", 4 << 20, 4096, 2, 8, 1},
		{"1.2, copied elsewhere", 4 << 20, 4096, 2, 16, 0},
		{"1.1, copied elsewhere", 4 << 20, 0, 1, 8, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := blankDisk()
			o.size = tt.size
			p := binary.LittleEndian.AppendUint32(nil, 0xA92B4EFC)
			if tt.minor == 90 {
				p = append(p, 0, 0, 0, 0, 90, 0, 0, 0)
			} else {
				p = append(p, 1, 0, 0, 0)
				o.write(tt.at+144, binary.LittleEndian.AppendUint64(nil, uint64(tt.super)))
			}
			o.write(tt.at, p)
			m := mapOverlay(t, o)
			if got := m.Type == "linux_raid_member"; got != (tt.claims == 1) || !m.Whole {
				t.Errorf("got type %q, whole %v, notes %q", m.Type, m.Whole, m.Notes)
			}
		})
	}
}

// A member of a mirror with the superblock at its end looks like the file
// system on the mirror.
func TestRAIDWithFAT(t *testing.T) {
	o := mkFAT(t, 4<<20, "")
	o.write(4<<20-8192, []byte(raid1))
	wantCaptured(t, mapOverlay(t, o), "", "signatures of linux_raid_member and vfat")
}

func TestLUKS(t *testing.T) {
	lab.Tools(t, "cryptsetup", "blkid")
	for _, version := range []string{"1", "2"} {
		t.Run(version, func(t *testing.T) {
			path := lab.File(t, 32<<20)
			key := lab.File(t, 64)
			lab.Run(t, "cryptsetup", "luksFormat", "--batch-mode", "--type", "luks"+version, "--key-file", key,
				"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", path)
			m := mapPath(t, path)
			wantCaptured(t, m, "crypto_LUKS", "encrypted (LUKS"+version+")")
			if uuid := strings.TrimSpace(lab.Run(t, "blkid", "-p", "-o", "value", "-s", "UUID", path)); m.UUID != uuid {
				t.Errorf("got UUID %q, want %q", m.UUID, uuid)
			}
		})
	}
}

func TestLUKSRejects(t *testing.T) {
	for _, header := range []string{"LUKS\xBA\xBE\x00\x00", "LUKS\xBA\xBE\x00\x03", "LUKS\xBA\xBF\x00\x02"} {
		o := blankDisk()
		o.write(0, []byte(header))
		if m := mapOverlay(t, o); m.Type != "" {
			t.Errorf("%q is taken for %q", header, m.Type)
		}
	}
}

func TestRootLVM(t *testing.T) {
	lab.Root(t)
	lab.Tools(t, "pvcreate", "vgcreate", "vgremove", "pvs", "blkid")
	path := lab.File(t, 32<<20)
	dev := lab.Loop(t, path, 512)
	lab.Run(t, "pvcreate", "--quiet", dev)
	wantPV := func(want string) {
		t.Helper()
		m := mapPath(t, path)
		uuid := strings.TrimSpace(lab.Run(t, "blkid", "-p", "-o", "value", "-s", "UUID", dev))
		wantCaptured(t, m, "LVM2_member", want+" ("+uuid+")")
		if m.UUID != uuid {
			t.Errorf("got UUID %q, want %q", m.UUID, uuid)
		}
	}
	wantPV("an LVM2 physical volume")
	lab.Run(t, "vgcreate", "--quiet", "slipcast_lab", dev)
	t.Cleanup(func() { lab.Run(t, "vgremove", "--quiet", "--force", "slipcast_lab") })
	wantPV("an LVM2 physical volume of group slipcast_lab")

	o := openOverlay(t, path)
	o.write(512+40, []byte{'x'}) // within the label
	wantCaptured(t, mapOverlay(t, o), "", "unknown contents")
}

// lvmLabelSector makes a label for the sector of the given number.
func lvmLabelSector(sector byte, header uint32, areas string) []byte {
	p := make([]byte, lvmSectorSize)
	copy(p, lvmLabelMagic)
	p[8] = sector
	binary.LittleEndian.PutUint32(p[20:], header)
	copy(p[24:], lvmLabelType)
	copy(p[32:], "abcdefghijklmnopqrstuvwxyzABCDEF")
	copy(p[72:], areas)
	binary.LittleEndian.PutUint32(p[16:], lvmCRC(p[lvmChecked:]))
	return p
}

func TestLVMLabel(t *testing.T) {
	const far = "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F"
	tests := []struct {
		name  string
		place int64
		label []byte
		kind  string
	}{
		{"sector 0", 0, lvmLabelSector(0, 32, ""), "LVM2_member"},
		{"sector 3", 3, lvmLabelSector(3, 32, ""), "LVM2_member"},
		{"sector 4", 4, lvmLabelSector(4, 32, ""), ""},
		{"another's number", 2, lvmLabelSector(1, 32, ""), ""},
		{"header outside", 1, lvmLabelSector(1, 500, ""), ""},
		{"header far outside", 1, lvmLabelSector(1, 1<<31, ""), ""},
		{"areas without end", 1, lvmLabelSector(1, 32, strings.Repeat("\x01", 440)), "LVM2_member"},
		{"metadata far outside", 1, lvmLabelSector(1, 32, far), "LVM2_member"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := blankDisk()
			o.write(tt.place*lvmSectorSize, tt.label)
			m := mapOverlay(t, o)
			if m.Type != tt.kind || !m.Whole {
				t.Errorf("got type %q, whole %v, want %q", m.Type, m.Whole, tt.kind)
			}
		})
	}
}

// FuzzContainers: whatever is on a volume, Read keeps its promises, and what
// is recognized without a map is whole.
func FuzzContainers(f *testing.F) {
	base := make([]byte, 512<<10)
	for _, c := range containers() {
		at := int64(0)
		if c.at != nil {
			at = c.at(int64(len(base)))
		}
		var changes []byte
		for _, mark := range c.marks {
			changes = append(changes, change(uint32(at+mark.offset), mark.bytes)...)
		}
		f.Add(changes)
	}
	f.Add(change(0, "LUKS\xBA\xBE\x00\x02"))
	f.Add(change(512, string(lvmLabelSector(1, 32, "")[:256])))
	f.Fuzz(func(t *testing.T, changes []byte) {
		o := newOverlay(bytes.NewReader(base), int64(len(base)))
		o.patch(changes)
		sum := lvmCRC(o.bytes(512+lvmChecked, lvmSectorSize-lvmChecked))
		o.write(512+16, binary.LittleEndian.AppendUint32(nil, sum))
		m := mapOverlay(t, o)
		switch m.Type {
		case "vfat", "exfat", "swap", "ntfs", "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs":
		default:
			if !m.Whole {
				t.Errorf("%q is not whole: %v", m.Type, m.Used)
			}
		}
	})
}
