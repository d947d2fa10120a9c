package fsmap

import (
	"encoding/binary"
)

// Flags of a tag.
const (
	jbdEscaped  = 1
	jbdSameUUID = 2
	jbdLastTag  = 8
)

// An extTag announces the copy of a block that follows a descriptor block.
type extTag struct {
	block   int64 // where a replay writes it
	sum     uint32
	escaped bool
	at      int64 // where the copy lies in the log
}

// An extTransaction is a transaction of the log whose commit block was not
// seen yet: it may never have been completed.
type extTransaction struct {
	sequence uint32
	tags     []extTag
	revoked  []int64
	sum      uint32 // crc32 so far, with the feature checksum
	damaged  bool   // a descriptor or revoke block has a wrong checksum
}

// scan follows the log from its start and notes what every committed
// transaction writes. The log ends where a block does not belong to the
// transaction that is expected there. Every block is looked at once.
func (l *extLog) scan() error {
	buf := make([]byte, l.fs.blockSize)
	at, left := l.start, l.end-l.first
	t := &extTransaction{sequence: l.sequence, sum: ^uint32(0)}
	for left > 0 {
		if err := l.read(buf, at); err != nil {
			return err
		}
		be := binary.BigEndian
		if be.Uint32(buf) != jbdMagic || be.Uint32(buf[8:]) != t.sequence {
			return nil
		}
		n := int64(1)
		var err error
		switch kind := be.Uint32(buf[4:]); kind {
		case jbdDescriptor:
			n, err = l.descriptor(t, buf, at, left)
		case jbdRevoke:
			err = l.revoke(t, buf)
		case jbdCommit:
			err = l.commit(t, buf)
			t = &extTransaction{sequence: t.sequence + 1, sum: ^uint32(0)}
		default:
			err = damaged("journal: block of kind %d", kind)
		}
		if err != nil {
			return err
		}
		at, left = l.after(at, n), left-n
	}
	return nil
}

// descriptor takes up the tags of the descriptor block p, which is block at
// of the log. It returns how many blocks p and the copies behind it fill,
// which must not be more than left.
func (l *extLog) descriptor(t *extTransaction, p []byte, at, left int64) (int64, error) {
	t.damaged = t.damaged || !l.tailRight(p)
	tags := l.decodeTags(p)
	n := 1 + int64(len(tags))
	if n > left || len(t.tags) > extMaxCopies {
		return 0, damaged("journal: transaction %d is too long", t.sequence)
	}
	for i := range tags {
		tags[i].at = l.after(at, int64(i)+1)
	}
	if l.oldSums {
		if err := l.addOldSum(t, p, tags); err != nil {
			return 0, err
		}
	}
	t.tags = append(t.tags, tags...)
	return n, nil
}

// addOldSum continues the checksum of t over the descriptor block p and the
// copies that it announces. It needs p no longer and reads into it.
func (l *extLog) addOldSum(t *extTransaction, p []byte, tags []extTag) error {
	t.sum = extCRC32BE(t.sum, p)
	for _, tag := range tags {
		if err := l.read(p, tag.at); err != nil {
			return err
		}
		t.sum = extCRC32BE(t.sum, p)
	}
	return nil
}

// tailRight reports whether the checksum in the last four bytes of a
// descriptor or revoke block is right, or there is none.
func (l *extLog) tailRight(p []byte) bool {
	if !l.sums {
		return true
	}
	tail := len(p) - 4
	return extCRC(l.seed, p[:tail], []byte{0, 0, 0, 0}) == binary.BigEndian.Uint32(p[tail:])
}

// tagSize returns the length of a tag in bytes. With csum_v2 tags are two
// bytes longer than their fields; csum_v3 was made to mend this.
func (l *extLog) tagSize() int {
	if l.wideSums {
		return 16
	}
	size := 8
	if l.wide {
		size += 4
	}
	if l.sums {
		size += 2
	}
	return size
}

// room returns how many bytes of a descriptor or revoke block are not taken
// by its checksum.
func (l *extLog) room(p []byte) int {
	if l.sums {
		return len(p) - 4
	}
	return len(p)
}

// decodeTags reads the tags of a descriptor block. They end with the one that
// is marked as the last, or with the block. A UUID of 16 bytes, which nothing
// looks at, follows each tag that does not say otherwise.
func (l *extLog) decodeTags(p []byte) []extTag {
	be := binary.BigEndian
	size, end := l.tagSize(), l.room(p)
	var tags []extTag
	for at := jbdHeaderSize; at+size <= end; at += size {
		raw := p[at:][:size]
		flags := be.Uint16(raw[6:])
		tag := extTag{block: int64(be.Uint32(raw)), escaped: flags&jbdEscaped != 0}
		if l.wide {
			tag.block |= int64(be.Uint32(raw[8:])) << 32
		}
		tag.sum = uint32(be.Uint16(raw[4:]))
		if l.wideSums {
			tag.sum = be.Uint32(raw[12:])
		}
		tags = append(tags, tag)
		if flags&jbdSameUUID == 0 {
			at += 16
		}
		if flags&jbdLastTag != 0 {
			break
		}
	}
	return tags
}

// revoke takes up the blocks that the revoke block p lists: their copies in
// this transaction and the ones before it must not be written.
func (l *extLog) revoke(t *extTransaction, p []byte) error {
	be := binary.BigEndian
	t.damaged = t.damaged || !l.tailRight(p)
	size := 4
	if l.wide {
		size = 8
	}
	const entries = jbdHeaderSize + 4
	used := int64(be.Uint32(p[jbdHeaderSize:])) // bytes, with the header
	if used < entries || used > int64(l.room(p)) {
		return damaged("journal: revoke block of %d bytes", used)
	}
	for list := p[entries:used]; len(list) >= size; list = list[size:] {
		block := int64(be.Uint32(list))
		if l.wide {
			block = block<<32 | int64(be.Uint32(list[4:]))
		}
		t.revoked = append(t.revoked, block)
	}
	if len(t.revoked) > extMaxCopies {
		return damaged("journal: transaction %d revokes too many blocks", t.sequence)
	}
	return nil
}

// commit makes t count: p is its commit block. Everything about a committed
// transaction must be right.
func (l *extLog) commit(t *extTransaction, p []byte) error {
	if t.damaged || !l.commitSumRight(t, p) {
		return damaged("journal: transaction %d: checksum mismatch", t.sequence)
	}
	buf := make([]byte, l.fs.blockSize)
	for _, tag := range t.tags {
		if tag.block < 0 || tag.block >= l.fs.blocks {
			return damaged("journal: transaction %d writes block %d of %d", t.sequence, tag.block, l.fs.blocks)
		}
		if err := l.checkCopy(t, tag, buf); err != nil {
			return err
		}
		l.copies[tag.block] = extCopy{at: tag.at, escaped: tag.escaped}
	}
	for _, block := range t.revoked {
		delete(l.copies, block)
	}
	if len(l.copies) > extMaxCopies {
		return damaged("journal: more than %d blocks", extMaxCopies)
	}
	return nil
}

// commitSumRight reports whether the checksum in commit block p is right, or
// there is none.
func (l *extLog) commitSumRight(t *extTransaction, p []byte) bool {
	const kind, size, sum = 12, 13, 16
	be := binary.BigEndian
	got := be.Uint32(p[sum:])
	switch {
	case l.sums:
		return extCRC(l.seed, p[:sum], []byte{0, 0, 0, 0}, p[sum+4:]) == got
	case l.oldSums:
		const crc32 = 1
		unused := p[kind] == 0 && p[size] == 0 && got == 0
		return unused || p[kind] == crc32 && p[size] == 4 && got == t.sum
	}
	return true
}

// checkCopy reads the copy that tag announces into buf and checks it. Tags
// other than those of csum_v3 have room for half of the checksum.
func (l *extLog) checkCopy(t *extTransaction, tag extTag, buf []byte) error {
	if !l.sums {
		return nil
	}
	if err := l.read(buf, tag.at); err != nil {
		return err
	}
	sum := extCRC(l.seed, binary.BigEndian.AppendUint32(nil, t.sequence), buf)
	if !l.wideSums {
		sum &= 0xffff
	}
	if sum != tag.sum {
		return damaged("journal: transaction %d: block %d: checksum mismatch", t.sequence, tag.block)
	}
	return nil
}
