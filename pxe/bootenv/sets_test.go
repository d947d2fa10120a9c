package bootenv

import "testing"

// What no modalias asks for and every machine needs is there however small the
// boot environment is: restored disks are mounted, and programs of bundles run
// on an overlay of them.
func TestBaseSet(t *testing.T) {
	for _, file := range []string{
		"drivers/scsi/sd_mod", "drivers/block/loop", "fs/ext4/ext4", "fs/xfs/xfs", "fs/btrfs/btrfs", "fs/fat/vfat", "fs/exfat/exfat",
		"fs/ntfs3/ntfs3", "fs/overlayfs/overlay", "fs/efivarfs/efivarfs", "fs/nls/nls_utf8",
	} {
		if !baseSet().has(file) {
			t.Errorf("%s is not in the set of all machines", file)
		}
	}
}
