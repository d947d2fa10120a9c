package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"

	"slipcast/catalog/trust"
)

// Bounds of a fileList, docs/protocol.md, section 12.
const (
	maxListed     = 1600     // files
	maxListPiece  = 16 << 20 // bytes
	listedSize    = 32 + 8   // of a file in the list
	usualPiece    = 1 << 20
	maxListFrames = 1 << 26
)

// A fileList is what a session says of its annex: files, and the length of the
// pieces that they are cut into. The pieces of all files are numbered on.
type fileList struct {
	piece int64
	files []trust.File
	first []int // number of the first piece of each file, and of none
}

var errFileList = errors.New("the list of the session's files is malformed")

// newFileList numbers the pieces of files. It refuses what no list can be.
func newFileList(piece int64, files []trust.File) (*fileList, error) {
	if piece < 1 || piece > maxListPiece || len(files) < 1 || len(files) > maxListed {
		return nil, fmt.Errorf("%w: %d files in pieces of %d bytes", errFileList, len(files), piece)
	}
	l := &fileList{piece: piece, files: files, first: []int{0}}
	seen := map[string]bool{}
	for _, f := range files {
		n := (f.Size-1)/piece + 1
		if f.Size < 1 || n > maxListFrames-int64(l.frames()) || seen[f.SHA256] {
			return nil, fmt.Errorf("%w: a file of %d bytes, or twice", errFileList, f.Size)
		}
		seen[f.SHA256] = true
		l.first = append(l.first, l.frames()+int(n))
	}
	return l, nil
}

// parseFileList reads what a sender says of an annex of so many frames.
func parseFileList(p []byte, frames int) (*fileList, error) {
	if len(p) < 4 || (len(p)-4)%listedSize != 0 || len(p) > 4+maxListed*listedSize {
		return nil, fmt.Errorf("%w: %d bytes", errFileList, len(p))
	}
	var files []trust.File
	for rest := p[4:]; len(rest) > 0; rest = rest[listedSize:] {
		files = append(files, trust.File{SHA256: hex.EncodeToString(rest[:32]), Size: int64(binary.LittleEndian.Uint64(rest[32:]))})
	}
	l, err := newFileList(int64(binary.LittleEndian.Uint32(p)), files)
	if err == nil && l.frames() != frames {
		err = fmt.Errorf("%w: its files have %d pieces, and %d are sent", errFileList, l.frames(), frames)
	}
	return l, err
}

// encode returns what a sender says of the list.
func (l *fileList) encode() []byte {
	p := binary.LittleEndian.AppendUint32(nil, uint32(l.piece))
	for _, f := range l.files {
		sum, err := hex.DecodeString(f.SHA256)
		if err != nil || len(sum) != 32 {
			panic("a file of a catalog without a SHA-256: " + f.SHA256)
		}
		p = binary.LittleEndian.AppendUint64(append(p, sum...), uint64(f.Size))
	}
	return p
}

// frames returns how many pieces there are.
func (l *fileList) frames() int { return l.first[len(l.first)-1] }

// place returns where piece n belongs: the number of its file, and the bytes from
// start up to end of that.
func (l *fileList) place(n int) (file int, start, end int64) {
	file = sort.SearchInts(l.first, n+1) - 1
	start = int64(n-l.first[file]) * l.piece
	return file, start, min(start+l.piece, l.files[file].Size)
}

// size returns the length of piece n in bytes.
func (l *fileList) size(n int) int {
	_, start, end := l.place(n)
	return int(end - start)
}
