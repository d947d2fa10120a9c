package bootenv

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

func TestFirmwareFrom(t *testing.T) {
	dir := t.TempDir()
	for name, data := range map[string][]byte{"rtl_nic/a.fw": []byte("a"), "giant.bin": make([]byte, giantFirmware+1)} {
		if err := writeFile(filepath.Join(dir, name), data); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("rtl_nic/a.fw", filepath.Join(dir, "b.fw")); err != nil {
		t.Fatal(err)
	}
	wanted := wantedFirmware([]*Module{{Firmware: []string{"rtl_nic/a.fw", "none.fw", "../../etc/passwd"}}, {Firmware: []string{"giant.bin", "b.fw", "none.fw"}}})
	if want := []string{"b.fw", "giant.bin", "none.fw", "rtl_nic/a.fw"}; !slices.Equal(wanted, want) {
		t.Fatalf("wanted is %q, want %q", wanted, want)
	}
	fw, err := firmwareFrom(dir, wanted)
	if err != nil {
		t.Fatal(err)
	}
	fw.sort(wanted, false)
	want := &firmware{files: map[string][]byte{"rtl_nic/a.fw": []byte("a"), "b.fw": []byte("a")}, missing: []string{"none.fw"}, tooLarge: []string{"giant.bin"}}
	if !reflect.DeepEqual(fw, want) {
		t.Errorf("firmware is %+v, want %+v", fw, want)
	}
	if fw, err = firmwareFrom(filepath.Join(dir, "nosuch"), wanted); err == nil {
		t.Errorf("firmware of no folder is %+v, want an error", fw)
	}
}

func TestFirmwarePackages(t *testing.T) {
	got := firmwarePackages([]string{"rtl_nic/a.fw", "rtl_nic/b.fw", "bnx2x/c.fw", "unknown/d.fw"})
	if want := []string{"firmware-bnx2x", "firmware-realtek"}; !slices.Equal(got, want) {
		t.Errorf("packages are %q, want %q", got, want)
	}
}

func TestLinks(t *testing.T) {
	l := links{}
	l.add("lib/firmware/a", "b")
	l.add("lib/firmware/b", "../firmware/c/d")
	l.add("lib/firmware/x", "/lib/firmware/c/d")
	l.add("lib/firmware/loop", "loop")
	for name, want := range map[string]string{
		"lib/firmware/a": "lib/firmware/c/d", "lib/firmware/x": "lib/firmware/c/d", "plain": "plain", "lib/firmware/loop": "",
	} {
		if got := l.follow(name); got != want {
			t.Errorf("%s leads to %q, want %q", name, got, want)
		}
	}
}
