package fsmap

import (
	"encoding/binary"
	"errors"
	"fmt"

	"slipcast/partition"
)

// Numbers of the records of the MFT that hold the file system's own files
// (ntfs-3g, include/ntfs-3g/layout.h, NTFS_SYSTEM_FILES).
const (
	ntfsFileMFT    = 0
	ntfsFileMirror = 1 // copy of the first records of the MFT
	ntfsFileLog    = 2
	ntfsFileVolume = 3
	ntfsFileRoot   = 5 // the root directory
	ntfsFileBitmap = 6 // one bit for each cluster
	ntfsFileBoot   = 7 // the boot sector and the loader behind it
)

const (
	ntfsBootArea    = 8 << 10         // bytes of boot sector and loader
	ntfsVolumeDirty = 0x0001 | 0x4000 // flags of the volume: dirty, and chkdsk under way
)

// What must be done in Windows, by the reason why the map cannot be trusted.
var (
	errNTFSHibernated = errors.New("suspended: Windows is hibernated or used fast startup; " +
		"shut it down with shutdown /s /f /t 0 for a smaller image")
	errNTFSLog = errors.New("the log holds changes that the file system lacks, because Windows was not shut down " +
		"or used fast startup; shut it down with shutdown /s /f /t 0 for a smaller image")
	errNTFSDirty = errors.New("the volume is marked dirty; run chkdsk /f in Windows for a smaller image")
)

// An ntfs is an open NTFS volume.
type ntfs struct {
	v *volume
	ntfsBoot
	mft *ntfsStream // the MFT, as far as it is known
}

// readNTFS maps an NTFS volume by its file $Bitmap. Layouts are those of
// ntfs-3g, include/ntfs-3g/layout.h, in agreement with the structures that
// Microsoft documents as "Master File Table" in its developer notes.
//
// Windows writes $Bitmap lazily, behind $LogFile. The bitmap of a volume that
// was not unmounted may lack clusters of files that were synced, so only a
// clean volume is mapped; any other one counts as used as a whole.
func readNTFS(v *volume) (*Map, error) {
	sector, err := probeNTFS(v)
	if err != nil {
		return nil, err
	}
	m := &Map{Type: "ntfs"}
	boot, err := decodeNTFSBoot(sector)
	if err != nil {
		return m, err
	}
	m.UUID = fmt.Sprintf("%016X", boot.serial)
	m.BlockSize = boot.clusterSize
	m.Size = (boot.sectors + 1) * boot.sectorSize
	if boot.sectors*boot.sectorSize > v.size {
		return m, damaged("a file system of %d bytes on a volume of %d", m.Size, v.size)
	}
	return m, mapNTFS(v, boot, m)
}

// mapNTFS fills m with what the files of the volume tell.
func mapNTFS(v *volume, boot ntfsBoot, m *Map) error {
	fs, err := openNTFS(v, boot)
	if err != nil {
		return err
	}
	flags, err := fs.describe(m)
	if err != nil {
		return err
	}
	swap, err := fs.findSwapfiles()
	if stopped := fs.checkStopped(m, flags, swap); stopped != nil {
		return stopped
	}
	if err != nil {
		return err
	}
	own, err := fs.ownExtents()
	if err != nil {
		return err
	}
	used, err := fs.usedClusters(own)
	if err != nil {
		return err
	}
	if v.opt.SkipSwapfiles {
		if used, err = fs.leaveOut(m, used, own, swap); err != nil {
			return err
		}
	}
	m.Used = fs.addAreas(used)
	return nil
}

// openNTFS reads record 0, which describes the MFT itself. Where the MFT is
// in many pieces, each piece leads to the record that lists the next.
func openNTFS(v *volume, boot ntfsBoot) (*ntfs, error) {
	fs := &ntfs{v: v, ntfsBoot: boot}
	fs.mft = &ntfsStream{fs: fs}
	buf, err := v.read(boot.mftStart*boot.clusterSize, boot.recordSize)
	if err != nil {
		return nil, err
	}
	base, err := decodeNTFSRecord(buf, ntfsFileMFT)
	if err != nil {
		return nil, err
	}
	file, err := fs.fileOf(base)
	if err != nil {
		return nil, err
	}
	if err := file.load(fs.mft, ntfsData, ""); err != nil {
		return nil, err
	}
	if err := fs.mft.plain(); err != nil {
		return nil, err
	}
	if len(fs.mft.runs) == 0 || fs.mft.runs[0].lcn != boot.mftStart {
		return nil, damaged("the MFT does not start where the boot sector says")
	}
	return fs, nil
}

// describe reads the label, and returns the flags of the volume.
func (fs *ntfs) describe(m *Map) (flags uint16, err error) {
	file, err := fs.open(ntfsFileVolume)
	if err != nil {
		return 0, err
	}
	info, err := file.value(ntfsVolumeInformation)
	if err != nil {
		return 0, err
	}
	const size, majorAt, minorAt, flagsAt = 12, 8, 9, 10
	if len(info) < size {
		return 0, damaged("volume information of %d bytes", len(info))
	}
	switch major, minor := info[majorAt], info[minorAt]; {
	case major == 1 && minor == 2, major == 3 && minor <= 1: // NT 4, 2000, XP and later
	default:
		return 0, fmt.Errorf("unknown version %d.%d of NTFS", major, minor)
	}
	if label, err := file.value(ntfsVolumeName); err == nil { // it may be missing
		m.Label = ntfsText(label)
	}
	return binary.LittleEndian.Uint16(info[flagsAt:]), nil
}

// checkStopped returns the reason if Windows did not let go of the volume. A
// suspended Windows is looked for first, because that is the best advice.
func (fs *ntfs) checkStopped(m *Map, flags uint16, swap []*ntfsSwapfile) error {
	reason := fs.stopReason(flags, swap)
	m.Dirty = errors.Is(reason, errNTFSHibernated) || errors.Is(reason, errNTFSDirty) || errors.Is(reason, errNTFSLog)
	return reason
}

func (fs *ntfs) stopReason(flags uint16, swap []*ntfsSwapfile) error {
	for _, s := range swap {
		if s.suspended() {
			return errNTFSHibernated
		}
	}
	if flags&ntfsVolumeDirty != 0 {
		return errNTFSDirty
	}
	clean, err := fs.logClean()
	if err == nil && !clean {
		err = errNTFSLog
	}
	return err
}

// addAreas adds to the clusters in use what has no bit in the bitmap: the
// last sectors of the volume, which make no whole cluster and hold the backup
// of the boot sector. The boot area has bits; it is added all the same.
func (fs *ntfs) addAreas(used partition.Extents) partition.Extents {
	var b partition.Builder
	b.Add(0, min(ntfsBootArea, fs.v.size))
	for _, e := range used {
		b.Add(e.Start, e.Length)
	}
	end := fs.clusters * fs.clusterSize
	b.Add(end, fs.v.size-end)
	return b.Extents()
}
