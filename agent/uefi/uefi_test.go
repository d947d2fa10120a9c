package uefi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
)

// A load option in the form that OVMF gives its own: "UEFI PXEv4
// (MAC:525400123456)", ACPI, PCI, MAC and IPv4 nodes, and a GUID behind them.
const pxeOption = "0100000056005500450046004900200050005800450076003400200028004d00410043003a0035003200350034003000300031003200330034003500" +
	"36002900000002010c00d041030a00000000010106000003030b25005254001234560000000000000000000000000000000000000000000000000000" +
	"01030c1b0000000000000000000000000000000000000000000000007fff04004eac0881119f594d850ee21a522c59b2"

func loader() Loader {
	return Loader{Partition: 2, Start: 4096, Size: 131072, GUID: "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", File: `\EFI\BOOT\BOOTX64.EFI`}
}

// newVars returns a folder of variables: BootCurrent is a network entry 3, and
// there are a disk 1 and the firmware's menu 0.
func newVars(t *testing.T) Vars {
	t.Helper()
	v := Vars(t.TempDir())
	network := Entry{Number: 3, Attributes: active, Description: "PXE", Path: []Node{{acpi, 1, make([]byte, 8)}, {messaging, macAddr, make([]byte, 33)}}}
	disk := Entry{Number: 1, Attributes: active, Description: "disk", Path: []Node{{acpi, 1, make([]byte, 8)}, {hardware, pciDevice, make([]byte, 2)}}}
	menu := Entry{Number: 0, Attributes: active, Description: "menu", Path: []Node{{media, 7, make([]byte, 16)}, {media, 6, make([]byte, 16)}}}
	for _, e := range []Entry{network, disk, menu} {
		if err := v.setEntry(e); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string][]byte{"BootCurrent": {3, 0}, "BootOrder": {0, 0, 3, 0, 1, 0}} {
		if err := v.write(name, value); err != nil {
			t.Fatal(err)
		}
	}
	return v
}

func TestBootDisk(t *testing.T) {
	v := newVars(t)
	e, err := v.BootDisk(loader())
	if err != nil {
		t.Fatal(err)
	}
	if e.Number != 2 {
		t.Errorf("new entry is %d, want 2, the lowest that is free", e.Number)
	}
	order, _ := v.Order()
	if want := []uint16{3, 2, 0, 1}; !slices.Equal(order, want) {
		t.Errorf("BootOrder is %v, want %v: the network, the disk, the others", order, want)
	}
	if next, err := v.number("BootNext"); err != nil || next != 2 {
		t.Errorf("BootNext is %d, %v, want 2", next, err)
	}
	got, err := v.Entry(2)
	if err != nil || !got.Disk() || got.Network() || !got.Active() {
		t.Errorf("entry 2 is %+v, %v, want an active disk", got, err)
	}
}

func TestBootDiskAgain(t *testing.T) {
	v := newVars(t)
	for range 3 {
		if e, err := v.BootDisk(loader()); err != nil || e.Number != 2 {
			t.Fatalf("entry %d, %v, want the same one each time", e.Number, err)
		}
	}
	other := loader()
	other.GUID = "00000000-0000-0000-0000-000000000001"
	if e, err := v.BootDisk(other); err != nil || e.Number != 2 {
		t.Errorf("another loader made entry %d, %v, want our own 2 written anew", e.Number, err)
	}
	if order, _ := v.Order(); len(order) != 4 {
		t.Errorf("BootOrder grew to %v", order)
	}
}

func TestBootDiskFromStick(t *testing.T) {
	v := newVars(t)
	if err := v.write("BootCurrent", []byte{1, 0}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.BootDisk(loader()); err != nil {
		t.Fatal(err)
	}
	if order, _ := v.Order(); !slices.Equal(order, []uint16{2, 0, 3, 1}) {
		t.Errorf("BootOrder is %v, want the disk first", order)
	}
}

// Firmware that does not take the order still boots the disk next; one that takes
// nothing is said to.
func TestBootDiskWithoutRoom(t *testing.T) {
	for _, tt := range []struct {
		closed []string // variables that cannot be written
		want   string   // of the error
		next   bool
	}{
		{[]string{"BootOrder"}, "the boot order is left as it was: BootOrder: ", true},
		{[]string{"BootNext", "BootOrder"}, "BootNext: ", false},
		{[]string{"Boot0000"}, "Boot0000: ", false},
	} {
		v := Vars(t.TempDir())
		for _, name := range tt.closed { // a link to nowhere cannot be read, nor written
			if err := os.Symlink("nowhere/x", v.path(name)); err != nil {
				t.Fatal(err)
			}
		}
		e, err := v.BootDisk(loader())
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || errors.Is(err, ErrOrder) != tt.next {
			t.Errorf("without %s: BootDisk = %v, want %s", tt.closed, err, tt.want)
		}
		next, err := v.number("BootNext")
		if (err == nil) != tt.next || tt.next && next != e.Number {
			t.Errorf("without %s: BootNext is %d, %v", tt.closed, next, err)
		}
	}
}

func TestBootLocal(t *testing.T) {
	v := newVars(t)
	e, ok, err := v.BootLocal()
	if err != nil || !ok || e.Number != 1 {
		t.Errorf("BootLocal() = %d, %v, %v, want the disk, 1", e.Number, ok, err)
	}
	if next, _ := v.number("BootNext"); next != 1 {
		t.Errorf("BootNext is %d, want 1", next)
	}
}

func TestBootLocalWithout(t *testing.T) {
	v := Vars(t.TempDir())
	if _, ok, err := v.BootLocal(); ok || err != nil {
		t.Errorf("BootLocal() = %v, %v without entries, want none", ok, err)
	}
}

func TestBadLoader(t *testing.T) {
	v := newVars(t)
	for _, l := range []Loader{{}, {Partition: 1, Start: 1, Size: 1, GUID: "x", File: "y"}, {GUID: loader().GUID, File: "y"}} {
		if e, err := v.BootDisk(l); err == nil {
			t.Errorf("BootDisk(%+v) = %v, want an error", l, e)
		}
	}
	if _, err := v.read("BootNext"); !errors.Is(err, ErrNoVariable) {
		t.Errorf("BootNext is set: %v", err)
	}
}

func TestParseRealEntry(t *testing.T) {
	p, err := hex.DecodeString(pxeOption)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEntry(p)
	if err != nil {
		t.Fatal(err)
	}
	if e.Description != "UEFI PXEv4 (MAC:525400123456)" || !e.Network() || e.Disk() || len(e.Optional) != 16 {
		t.Errorf("entry is %+v, want the network with 16 bytes of data", e)
	}
}

func TestParseEntryRejects(t *testing.T) {
	tests := []struct{ name, option string }{
		{"empty", ""},
		{"short", "0100000004"},
		{"text without an end", "010000000400410042"},
		{"paths longer than the rest", "01000000ff0041000000" + "7fff0400"},
		{"path without an end", "01000000040041000000" + "04010400"},
		{"node too short", "01000000040041000000" + "04010300"},
		{"node too long", "01000000040041000000" + "0401ff00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := hex.DecodeString(tt.option)
			if err != nil && len(tt.option)%2 == 0 {
				t.Fatal(err)
			}
			if e, err := ParseEntry(p); !errors.Is(err, ErrMalformed) {
				t.Errorf("ParseEntry(%s) = %+v, %v, want ErrMalformed", tt.option, e, err)
			}
		})
	}
}

// FuzzEntry: what is parsed and written is parsed to the same again.
func FuzzEntry(f *testing.F) {
	if p, err := hex.DecodeString(pxeOption); err == nil {
		f.Add(p)
	}
	path, _ := loader().path()
	p, _ := Entry{Attributes: active, Description: ourName, Path: path}.AppendBinary(nil)
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		e, err := ParseEntry(p)
		if err != nil {
			return
		}
		written, err := e.AppendBinary(nil)
		if err != nil {
			return // a description that UTF-16 cannot hold a NUL in
		}
		again, err := ParseEntry(written)
		if err != nil || again.Description != e.Description || !samePath(again.Path, e.Path) || !bytes.Equal(again.Optional, e.Optional) {
			t.Errorf("%x parses to %+v, and its bytes %x to %+v, %v", p, e, written, again, err)
		}
	})
}
