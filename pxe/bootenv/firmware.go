package bootenv

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxFirmware   = 64 << 20 // bytes of one file
	giantFirmware = 2 << 20  // bytes from which a file is left out unless a machine asks for it
	maxLinks      = 8        // symbolic links in a row
)

// wantedFirmware returns the names of the files that modules may ask for.
func wantedFirmware(modules []*Module) []string {
	names := map[string]bool{}
	for _, m := range modules {
		for _, name := range m.Firmware {
			if fs.ValidPath(name) {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// firmwarePackages returns the names of Debian's packages that have wired
// network cards' and disk controllers' files, for those that are wanted.
func firmwarePackages(wanted []string) []string {
	homes := map[string]string{
		"3com/": "firmware-misc-nonfree", "advansys/": "firmware-misc-nonfree", "cxgb3/": "firmware-misc-nonfree",
		"cxgb4/": "firmware-misc-nonfree", "ene-ub6250/": "firmware-misc-nonfree", "kaweth/": "firmware-misc-nonfree",
		"microchip/": "firmware-misc-nonfree", "tehuti/": "firmware-misc-nonfree", "tigon/": "firmware-misc-nonfree",
		"rtl_nic/": "firmware-realtek", "bnx2/": "firmware-bnx2", "bnx2x/": "firmware-bnx2x",
		"e100/": "firmware-intel-misc", "intel/ice/": "firmware-intel-misc",
		"isci/": "firmware-linux-free", "liquidio/": "firmware-cavium", "netronome/": "firmware-netronome",
		"myri10ge": "firmware-myricom", "phanfw": "firmware-netxen",
		"ql": "firmware-qlogic", "qed/": "firmware-qlogic", "cbfw": "firmware-qlogic", "ctfw": "firmware-qlogic", "ct2fw": "firmware-qlogic",
	}
	found := map[string]bool{}
	for _, name := range wanted {
		for prefix, home := range homes {
			if strings.HasPrefix(name, prefix) {
				found[home] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// firmware is the files of firmware that go into an initramfs.
type firmware struct {
	files    map[string][]byte
	missing  []string // wanted, but not there
	tooLarge []string // left out
}

// sort fills in what is missing, and leaves out what is too large.
func (f *firmware) sort(wanted []string, keepGiants bool) {
	for _, name := range wanted {
		data, found := f.files[name]
		switch {
		case !found:
			f.missing = append(f.missing, name)
		case len(data) > giantFirmware && !keepGiants:
			f.tooLarge = append(f.tooLarge, name)
			delete(f.files, name)
		}
	}
}

// firmwareFrom returns the wanted files that are in a folder such as
// /lib/firmware, compressed or not.
func firmwareFrom(dir string, wanted []string) (*firmware, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	fw := &firmware{files: map[string][]byte{}}
	for _, name := range wanted {
		data, err := readFirmware(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		fw.files[name] = data
	}
	return fw, nil
}

// readFirmware reads one file of firmware.
func readFirmware(dir, name string) ([]byte, error) {
	file := filepath.Join(dir, filepath.FromSlash(name))
	data, err := readFile(file, maxFirmware)
	for _, suffix := range []string{".xz", ".zst"} {
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		if data, err = readFile(file+suffix, maxFirmware); err == nil {
			return decompressed(name+suffix, data, maxFirmware)
		}
	}
	return data, err
}

// links are the symbolic and hard links of packages: where they lead to, by
// their names.
type links map[string]string

// follow returns the name of the file that a name stands for, or "" if it
// leads nowhere.
func (l links) follow(name string) string {
	for range maxLinks {
		target, isLink := l[name]
		if !isLink {
			return name
		}
		name = target
	}
	return ""
}

// add remembers a symbolic link, see symlink(7).
func (l links) add(name, target string) {
	if !path.IsAbs(target) {
		target = path.Join(path.Dir(name), target)
	}
	l[name] = strings.TrimPrefix(path.Clean(target), "/")
}
