package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// A Level says how much time compression may take.
type Level int

// The levels, from fast and large to slow and small. The zero value is the
// default.
const (
	LevelDefault Level = iota
	LevelFast
	LevelBetter
	LevelBest
)

// Levels returns the names of all levels, fastest first.
func Levels() []string { return []string{"fast", "default", "better", "best"} }

// String returns the name of l.
func (l Level) String() string {
	return [...]string{"default", "fast", "better", "best"}[l]
}

// ParseLevel returns the level of that name.
func ParseLevel(name string) (Level, error) {
	for l := LevelDefault; l <= LevelBest; l++ {
		if l.String() == name {
			return l, nil
		}
	}
	return 0, fmt.Errorf("unknown level %q, want one of %v", name, Levels())
}

// newEncoder returns an encoder for chunks of up to chunkSize bytes. Its
// EncodeAll is used by one goroutine.
func newEncoder(l Level, chunkSize int64) (*zstd.Encoder, error) {
	speed := [...]zstd.EncoderLevel{zstd.SpeedDefault, zstd.SpeedFastest, zstd.SpeedBetterCompression, zstd.SpeedBestCompression}
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(speed[l]),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(true),
		zstd.WithSingleSegment(true),
		zstd.WithWindowSize(int(chunkSize)))
}

// An unpacker turns frames into raw data. It is used by one goroutine.
type unpacker struct {
	dec       *zstd.Decoder
	chunkSize int64
	blank     *blankChunk // made when a frame might be one
}

// newUnpacker returns an unpacker. It checks the frames' own checksums if sums
// is set; whoever compares a digest afterwards can do without.
func newUnpacker(chunkSize int64, sums bool) (*unpacker, error) {
	dec, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(uint64(chunkSize)),
		zstd.WithDecoderMaxWindow(uint64(max(chunkSize, maxZstdBlock))),
		zstd.WithDecodeAllCapLimit(true),
		zstd.IgnoreChecksum(!sums))
	return &unpacker{dec: dec, chunkSize: chunkSize}, err
}

// unpack decodes the frame of a chunk of length bytes into buf, which has room
// for a chunk.
func (u *unpacker) unpack(frame []byte, length int64, buf []byte) ([]byte, error) {
	if err := checkFrame(frame, length, u.chunkSize); err != nil {
		return nil, err
	}
	raw, err := u.dec.DecodeAll(frame, buf[:0:u.chunkSize])
	if err != nil {
		return nil, damaged("%v", err)
	}
	if int64(len(raw)) != length {
		return nil, damaged("frame of %d bytes of data, want %d", len(raw), length)
	}
	return raw, nil
}

// decode is unpack, and returns the quick digest of the data, too. The frame of
// a blank chunk costs next to nothing.
func (u *unpacker) decode(frame []byte, length int64, buf []byte) ([]byte, [quickSize]byte, error) {
	if u.isBlank(frame, length) {
		raw := buf[:length]
		clear(raw)
		return raw, u.blank.quick, nil
	}
	raw, err := u.unpack(frame, length, buf)
	if err != nil {
		return nil, [quickSize]byte{}, err
	}
	return raw, quickSum(raw), nil
}

// isBlank reports whether frame is the one that writers give a blank chunk.
func (u *unpacker) isBlank(frame []byte, length int64) bool {
	if length != u.chunkSize || int64(len(frame)) != zeroFrameSize(length) {
		return false
	}
	if u.blank == nil {
		u.blank = newBlankChunk(u.chunkSize)
	}
	return bytes.Equal(frame, u.blank.frame)
}

// digest returns the digest of the data that decode made of frame.
func (u *unpacker) digest(frame, raw []byte) Digest {
	if u.isBlank(frame, int64(len(raw))) {
		return u.blank.digest
	}
	return sha256.Sum256(raw)
}

func (u *unpacker) close() { u.dec.Close() }

// frameChecksum returns the content checksum that ends a frame.
func frameChecksum(frame []byte) uint32 {
	return binary.LittleEndian.Uint32(frame[len(frame)-4:])
}
