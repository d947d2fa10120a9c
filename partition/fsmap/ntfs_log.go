package fsmap

import "encoding/binary"

const (
	ntfsLogHead     = 64 << 10 // how much of $LogFile is looked at to call it empty, in bytes
	ntfsLogMaxPage  = 64 << 10 // bytes
	ntfsLogChecked  = "CHKD"   // magic of a restart page that chkdsk wrote
	ntfsLogNoClient = 0xFFFF
	ntfsLogClean    = 0x0002 // flag of the restart area: the volume was dismounted
)

// An ntfsRestart is what a restart page of $LogFile tells. The log has two of
// them, which are written in turns; the newer one counts.
type ntfsRestart struct {
	pageSize int64  // bytes; the second page follows at this offset
	sequence uint64 // of the last change when the page was written
	clean    bool   // nothing is left to be done
}

// logClean reports whether $LogFile has nothing left that must be carried
// over into the file system. An empty log, filled with ones, is clean: that
// is how ntfs-3g, which keeps no log, and mkntfs leave it.
func (fs *ntfs) logClean() (bool, error) {
	file, err := fs.open(ntfsFileLog)
	if err != nil {
		return false, err
	}
	log, err := file.stream(ntfsData, "")
	if err != nil {
		return false, err
	}
	head := make([]byte, min(ntfsLogHead, log.size))
	if err := log.read(head, 0); err != nil {
		return false, err
	}
	if len(head) == 0 || ntfsFilled(head, 0xFF) {
		return len(head) > 0, nil
	}
	return ntfsLogClosed(head, log)
}

// ntfsLogClosed looks at both restart pages. One that is torn or unknown
// means that the machine stopped while it was written. The second may never
// have been written.
func ntfsLogClosed(head []byte, log *ntfsStream) (bool, error) {
	first, ok := decodeNTFSRestart(head)
	if !ok {
		return false, nil
	}
	page := make([]byte, first.pageSize)
	if err := log.read(page, first.pageSize); err != nil {
		return false, err
	}
	if ntfsFilled(page, 0xFF) {
		return first.clean, nil
	}
	second, ok := decodeNTFSRestart(page)
	if !ok || second.pageSize != first.pageSize {
		return false, nil
	}
	if second.sequence > first.sequence {
		return second.clean, nil
	}
	return first.clean && (second.clean || second.sequence < first.sequence), nil
}

// decodeNTFSRestart reads the restart page at the start of p and its restart
// area (ntfs-3g, include/ntfs-3g/logfile.h). It changes p.
//
// Version 2 of the log is what Windows 8 and later keep while a volume is
// mounted, and over a fast startup; when they dismount it they go back to
// version 1 (ntfs-3g refuses such a volume as well, libntfs-3g/volume.c). Up
// to Windows 2000 a clean log has no client; later ones set a flag instead.
func decodeNTFSRestart(p []byte) (ntfsRestart, bool) {
	const chkdskAt, pageSizeAt, areaAt, majorAt, headerSize = 8, 16, 24, 28, 30
	const clientAt, flagsAt, areaSize = 12, 14, 48
	if len(p) < ntfsStride {
		return ntfsRestart{}, false
	}
	r := ntfsRestart{pageSize: int64(binary.LittleEndian.Uint32(p[pageSizeAt:]))}
	if r.pageSize < ntfsStride || r.pageSize > min(ntfsLogMaxPage, int64(len(p))) || !ntfsPower(r.pageSize) {
		return r, false
	}
	p = p[:r.pageSize]
	magic := string(p[:4])
	if magic != "RSTR" && magic != ntfsLogChecked || undoFixups(p, magic) != nil {
		return r, false
	}
	area, ok := ntfsSlice(p, int64(binary.LittleEndian.Uint16(p[areaAt:])), areaSize)
	if !ok || binary.LittleEndian.Uint16(p[areaAt:]) < headerSize {
		return r, false
	}
	r.sequence = binary.LittleEndian.Uint64(area)
	if magic == ntfsLogChecked {
		r.sequence = binary.LittleEndian.Uint64(p[chkdskAt:])
	}
	r.clean = binary.LittleEndian.Uint16(p[majorAt:]) == 1 &&
		(binary.LittleEndian.Uint16(area[clientAt:]) == ntfsLogNoClient ||
			binary.LittleEndian.Uint16(area[flagsAt:])&ntfsLogClean != 0)
	return r, true
}
