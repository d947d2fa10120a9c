package multicast

import (
	"slices"
	"testing"
)

// A sizedSource has frames of one size, of zeros.
type sizedSource struct{ frames, size int }

func (s sizedSource) Preface() []byte   { return nil }
func (s sizedSource) Frames() int       { return s.frames }
func (s sizedSource) FrameSize(int) int { return s.size }
func (s sizedSource) ReadFrame(_ int, buf []byte) ([]byte, error) {
	return slices.Grow(buf[:0], s.size)[:s.size], nil
}

// The frames in memory are bounded by their number and by their bytes.
func TestFrameCacheBound(t *testing.T) {
	for _, tt := range []struct{ size, most int }{
		{1 << 10, cacheFrames},
		{17 << 20, cacheBytes/(17<<20) + 1},
	} {
		c := newFrameCache(sizedSource{200, tt.size}, newCoder(1440))
		for f := range 200 {
			e := c.get(f)
			if e.err != nil || len(e.data) != tt.size {
				t.Fatalf("frame %d: %d bytes, %v, want %d", f, len(e.data), e.err, tt.size)
			}
			c.release(e)
		}
		if len(c.frames) != tt.most || c.held != tt.most*tt.size || len(c.spare) > prefetch {
			t.Errorf("%d frames of %d bytes, %d in all, and %d spare buffers; want %d, at most %d spare",
				len(c.frames), tt.size, c.held, len(c.spare), tt.most, prefetch)
		}
	}
}
