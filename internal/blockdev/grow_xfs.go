package blockdev

import (
	"fmt"
	"os"
)

// Requests of xfs_fs.h in xfsprogs, encoded for the structures below.
const (
	xfsGeometry = 0x80705864 // XFS_IOC_FSGEOMETRY_V1, _IOR('X', 100, struct xfs_fsop_geom_v1)
	xfsGrowData = 0x4010586e // XFS_IOC_FSGROWFSDATA, _IOW('X', 110, struct xfs_growfs_data)
)

// xfsGeom is struct xfs_fsop_geom_v1. Sizes are in blocks of BlockSize bytes.
type xfsGeom struct {
	BlockSize  uint32
	_          [6]uint32
	MaxInodes  uint32 // percent of the space
	DataBlocks uint64
	_          [9]uint64
}

// xfsGrow is struct xfs_growfs_data.
type xfsGrow struct {
	NewBlocks uint64
	MaxInodes uint32 // percent of the space, set as well
	_         uint32
}

// growXFS enlarges a mounted XFS to size bytes, rounded down to whole blocks.
func growXFS(root, _ *os.File, size int64) error {
	var geom xfsGeom
	if err := ioctl(root, xfsGeometry, &geom); err != nil {
		return fmt.Errorf("asking for the geometry: %w", err)
	}
	if geom.BlockSize == 0 {
		return fmt.Errorf("block size %d", geom.BlockSize)
	}
	blocks := uint64(size) / uint64(geom.BlockSize)
	if blocks < geom.DataBlocks { // would shrink it
		return fmt.Errorf("it has %d blocks already, more than the %d that fit", geom.DataBlocks, blocks)
	}
	return ioctl(root, xfsGrowData, &xfsGrow{NewBlocks: blocks, MaxInodes: geom.MaxInodes})
}
