package bundle

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
)

// The zstd seekable format 0.1.0: contrib/seekable_format/zstd_seekable_compression_format.md
// of github.com/facebook/zstd. A seek table has a skippable frame's header, an
// entry for each frame, and a footer.
const (
	frameSize      = 1 << 20 // bytes of the stream in a frame, at most
	mostFrames     = 1 << 21
	zstdMagic      = 0xfd2fb528
	skippableMagic = 0x184d2a5e
	skippableSize  = 8
	seekEntrySize  = 12
	seekFooterSize = 9
	seekChecksums  = 0x80
	seekableMagic  = 0x8f92eab1
)

// maxPacked is how long a frame may be: headers of blocks are all that data
// which cannot be compressed gains.
const maxPacked = frameSize + frameSize/64 + 64

// A frame is what the seek table says of one.
type frame struct {
	packed uint32 // bytes of the frame
	length uint32 // bytes of the stream in it
	sum    uint32 // low half of their xxHash-64
}

// checksum returns the sum of a frame's raw bytes.
func checksum(raw []byte) uint32 { return uint32(xxhash.Sum64(raw)) }

// appendSeekTable appends the seek table of frames to dst.
func appendSeekTable(dst []byte, frames []frame) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, skippableMagic)
	dst = le.AppendUint32(dst, uint32(len(frames)*seekEntrySize+seekFooterSize))
	for _, f := range frames {
		dst = le.AppendUint32(dst, f.packed)
		dst = le.AppendUint32(dst, f.length)
		dst = le.AppendUint32(dst, f.sum)
	}
	dst = le.AppendUint32(dst, uint32(len(frames)))
	dst = append(dst, seekChecksums)
	return le.AppendUint32(dst, seekableMagic)
}

// newEncoder returns an encoder whose EncodeAll is safe for concurrent use.
func newEncoder(workers int) (*zstd.Encoder, error) {
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression),
		zstd.WithEncoderConcurrency(workers),
		zstd.WithEncoderCRC(true),
		zstd.WithSingleSegment(true),
		zstd.WithWindowSize(frameSize))
}

// newDecoder returns a decoder whose DecodeAll is safe for concurrent use and
// gives no more than the capacity of what it decodes into.
func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(0),
		zstd.WithDecoderMaxMemory(frameSize),
		zstd.WithDecoderMaxWindow(frameSize),
		zstd.WithDecodeAllCapLimit(true))
}

// checkFrame checks that p is one zstd frame, and nothing behind it: RFC 8878,
// section 3.1.1. What it holds is not looked at.
func checkFrame(p []byte) error {
	var h zstd.Header
	if err := h.Decode(p); err != nil || h.Skippable || h.DictionaryID != 0 {
		return damaged("not a zstd frame (%x)", p[:min(len(p), 8)])
	}
	at := h.HeaderSize
	for last := false; !last; {
		if len(p)-at < 3 {
			return damaged("frame ends early")
		}
		b := int(p[at]) | int(p[at+1])<<8 | int(p[at+2])<<16
		size := b >> 3
		if b>>1&3 == 1 { // RLE: one byte stands for all
			size = 1
		}
		at += 3 + size
		last = b&1 == 1
	}
	if h.HasCheckSum {
		at += 4
	}
	if at != len(p) {
		return damaged("frame of %d bytes, its blocks take %d", len(p), at)
	}
	return nil
}
