package bootenv

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

// imageStart is the sector that the partition of a boot.img starts at.
const imageStart = 2048

// grubConfig is what GRUB does when it was started from a boot.img: it asks no
// network.
const grubConfig = `# written by slipcast boot build
set timeout=0
linux /LINUX panic=30 quiet loglevel=4%s
initrd /INITRD
boot
`

// CheckArg refuses what GRUB does not take as one word with nothing special in
// it, for the kernel's command line: see [Options.Args].
func CheckArg(w string) error {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._,:=/@+-"
	if w == "" || strings.Trim(w, safe) != "" {
		return fmt.Errorf("kernel argument %q: not one plain word", w)
	}
	return nil
}

// An image is what goes into a boot.img.
type image struct {
	arch           Arch
	args           []string
	shim, grub, mm []byte
	kernel, initrd []byte
}

// build returns a disk of one FAT partition with an MBR. The firmware of most
// machines boots that and a bare file system alike from a stick and from the
// RAM disk of UEFI HTTP boot; some want the table.
func (i *image) build() ([]byte, error) {
	args := ""
	for _, w := range i.args {
		if err := CheckArg(w); err != nil {
			return nil, err
		}
		args += " " + w
	}
	suffix := map[Arch]string{X64: "X64", ARM64: "AA64"}[i.arch]
	files := []Entry{
		{Name: "EFI/BOOT/BOOT" + suffix + ".EFI", Data: i.shim},
		{Name: "EFI/BOOT/GRUB" + suffix + ".EFI", Data: i.grub},
		{Name: "EFI/BOOT/MM" + suffix + ".EFI", Data: i.mm},
		{Name: "GRUB/GRUB.CFG", Data: fmt.Appendf(nil, grubConfig, args)},
		{Name: "LINUX", Data: i.kernel},
		{Name: "INITRD", Data: i.initrd},
	}
	digest := sha256.New()
	for _, f := range files {
		digest.Write(f.Data)
	}
	serial := binary.LittleEndian.Uint32(digest.Sum(nil))
	fat, err := newFAT(files, imageStart, "SLIPCAST", serial)
	if err != nil {
		return nil, err
	}
	disk := bytes.NewBuffer(make([]byte, 0, imageStart*fatSector+fat.size()))
	disk.Write(bootRecord(fat.totalSectors, serial))
	disk.Write(make([]byte, (imageStart-1)*fatSector))
	if _, err := fat.WriteTo(disk); err != nil {
		return nil, err
	}
	return disk.Bytes(), nil
}

// bootRecord returns an MBR with one partition, FAT16 by LBA, see UEFI 2.10,
// section 5.2.
func bootRecord(sectors int64, signature uint32) []byte {
	b := make([]byte, fatSector)
	le := binary.LittleEndian
	copy(b, "\xf4\xeb\xfd") // hlt; jmp to it
	le.PutUint32(b[440:], signature)
	p := b[446:]
	p[0] = 0x80
	copy(p[1:], "\xfe\xff\xff\x0e\xfe\xff\xff") // no CHS addresses; type 0e
	le.PutUint32(p[8:], imageStart)
	le.PutUint32(p[12:], uint32(sectors))
	b[510], b[511] = 0x55, 0xaa
	return b
}
