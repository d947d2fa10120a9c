package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"
)

// frameMap is a FrameSource in memory.
type frameMap map[Digest][]byte

// ReadFrame implements FrameSource.
func (m frameMap) ReadFrame(d Digest, size int64, p []byte, off int64) error {
	frame, ok := m[d]
	if !ok || int64(len(frame)) != size {
		return fmt.Errorf("%w: no frame %v of %d bytes", ErrDamaged, d, size)
	}
	copy(p, frame[off:])
	return nil
}

// framesOf checks all frames of an image, and returns them with their sums.
func framesOf(t *testing.T, im *Image) (frameMap, []FrameSum) {
	t.Helper()
	c, err := NewChecker(im.ChunkSize)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	frames, sums := frameMap{}, make([]FrameSum, im.ChunkCount())
	for n := range im.ChunkCount() {
		f := im.Chunk(n)
		frame, err := im.ReadFrame(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Check(&im.Manifest, f, frame)
		if err != nil || !im.HasChunk(n, s) {
			t.Fatalf("chunk %d: %v, %v, want the digests of the image", n, s, err)
		}
		if d, err := c.Digest(frame); err != nil || d != s.Digest || d != im.ChunkDigest(n) {
			t.Fatalf("chunk %d alone has the digest %v, %v, want %v", n, d, err, s.Digest)
		}
		frames[s.Digest], sums[n] = frame, SumFrame(frame)
	}
	return frames, sums
}

// An image and its frames make the image again, to the byte; the frames of another
// image of the same disk make one with the same digest.
func TestReframe(t *testing.T) {
	for name, d := range testDisks(t) {
		t.Run(name, func(t *testing.T) {
			p := captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: 256 * kiB})
			im := openBytes(t, p)
			frames, sums := framesOf(t, im)
			preface, err := im.Reframe(sums)
			if err != nil {
				t.Fatal(err)
			}
			a, err := Assemble(preface, frames)
			if err != nil {
				t.Fatal(err)
			}
			sameBytes(t, "the image with its own frames", readWhole(t, a), p)

			best := openBytes(t, captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: 256 * kiB, Level: LevelBest}))
			frames, sums = framesOf(t, best)
			if preface, err = im.Reframe(sums); err != nil {
				t.Fatal(err)
			}
			if a, err = Assemble(preface, frames); err != nil {
				t.Fatal(err)
			}
			other := openBytes(t, readWhole(t, a))
			if err := other.Verify(t.Context(), VerifyOptions{}); err != nil || other.Digest != im.Digest {
				t.Errorf("with other frames: %v, digest %v, want %v", err, other.Digest, im.Digest)
			}
			if err := a.CheckTable(); err != nil {
				t.Errorf("its table: %v", err)
			}
		})
	}
}

func readWhole(t *testing.T, a *Assembled) []byte {
	t.Helper()
	p := make([]byte, a.Size())
	if _, err := a.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// A stream gives the preface that the file gives.
func TestReframeStream(t *testing.T) {
	for name, d := range testDisks(t) {
		p := captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: 256 * kiB})
		im := openBytes(t, p)
		_, sums := framesOf(t, im)
		s, err := OpenKept(bytes.NewReader(p))
		for err == nil {
			_, _, err = s.Next(nil)
		}
		if err != io.EOF {
			t.Fatal(err)
		}
		if err := s.Finish(); err != nil {
			t.Fatal(err)
		}
		want, err := im.Preface()
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Reframe(sums)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes(t, name, got, want)
	}
}

// Sections of a tail that this version does not know stay, before and behind the
// frame sums, and so does the digest that they count for.
func TestReframeKeepsSections(t *testing.T) {
	d := testDisks(t)["none"]
	im := openBytes(t, captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: 256 * kiB}))
	preface, err := im.Preface()
	if err != nil {
		t.Fatal(err)
	}
	head := skippableSize + int(binary.LittleEndian.Uint32(preface[prefaceStart+4:]))
	tail := preface[prefaceStart+head : int64(len(preface))-seekTableSize(im.FrameCount()+2)]
	_, sums := framesOf(t, im)
	const at = skippableSize + tailFixedSize
	foreign := func(tag byte) []byte { return []byte{tag, 0, 2, 0, 3, 0, 0, 0, 'n', 'e', 'w'} }
	before := bytes.Index(tail, []byte{tagFrameSums, 0, flagVolatile, 0})
	with := bytes.Join([][]byte{tail[:before], foreign(40), tail[before:], foreign(70)}, nil)
	got := appendTail(nil, with, sums)
	binary.LittleEndian.PutUint32(with[4:], uint32(len(with)-skippableSize))
	sameBytes(t, "tail with sections of later versions", got, with)
	without := bytes.Join([][]byte{tail[:before], foreign(70)}, nil)
	got = appendTail(nil, without, sums)
	want := bytes.Join([][]byte{tail, foreign(70)}, nil)
	binary.LittleEndian.PutUint32(want[4:], uint32(len(want)-skippableSize))
	sameBytes(t, "tail that had no frame sums", got, want)
	m := im.Manifest
	sum := sha256.New()
	if _, err := appendHead(nil, &m, sum); err != nil {
		t.Fatal(err)
	}
	if _, err := m.readTail(bytes.NewReader(got), sum); err != nil || m.Digest != im.Digest {
		t.Errorf("readTail: %v, digest %v, want %v (sections begin at %d)", err, m.Digest, im.Digest, at)
	}
}

func TestReframeCount(t *testing.T) {
	d := testDisks(t)["none"]
	im := openBytes(t, captureBytes(t, d.b, d.layout, CaptureOptions{ChunkSize: 256 * kiB}))
	if _, err := im.Reframe(nil); err == nil {
		t.Error("Reframe without frames: no error")
	}
}

// What is no frame of a chunk has no digest.
func TestCheckerRefuses(t *testing.T) {
	c, err := NewChecker(256 * kiB)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	good := appendStored(nil, garbage(1000))
	tests := map[string][]byte{
		"nothing": nil, "short": good[:13], "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0),
		"magic": append([]byte{0}, good[1:]...), "no content size": append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x38}, good[6:]...),
		"too much": appendStored(nil, garbage(256*kiB+1)), "empty": appendPlainHeader(nil, 0),
	}
	flipped := bytes.Clone(good)
	flipped[500] ^= 1
	tests["a bit"] = flipped
	for name, frame := range tests {
		if d, err := c.Digest(frame); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: Digest = %v, %v, want ErrDamaged", name, d, err)
		}
	}
}
