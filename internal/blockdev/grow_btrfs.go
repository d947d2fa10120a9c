package blockdev

import (
	"fmt"
	"os"
)

// Requests of linux/btrfs.h, encoded for the structures below.
const (
	btrfsResize = 0x50009403 // BTRFS_IOC_RESIZE, _IOW(0x94, 3, struct btrfs_ioctl_vol_args)
	btrfsInfo   = 0x8400941f // BTRFS_IOC_FS_INFO, _IOR(0x94, 31, struct btrfs_ioctl_fs_info_args)
)

// btrfsFS is struct btrfs_ioctl_fs_info_args.
type btrfsFS struct {
	MaxID   uint64 // the largest number of a device
	Devices uint64
	_       [1008]byte
}

// btrfsArgs is struct btrfs_ioctl_vol_args.
type btrfsArgs struct {
	_    int64
	Name [4088]byte
}

// growBtrfs enlarges a mounted btrfs of one device to the end of the device.
func growBtrfs(root, _ *os.File, _ int64) error {
	var info btrfsFS
	if err := ioctl(root, btrfsInfo, &info); err != nil {
		return fmt.Errorf("asking for the devices: %w", err)
	}
	if info.Devices != 1 {
		return fmt.Errorf("it spans %d devices: %w", info.Devices, ErrCannotGrow)
	}
	var args btrfsArgs
	copy(args.Name[:], fmt.Sprintf("%d:max", info.MaxID))
	return ioctl(root, btrfsResize, &args)
}
