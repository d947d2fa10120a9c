package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"slipcast/image"
	"slipcast/internal/lab"
	"slipcast/multicast"
)

// A workbench is an image of 8 MiB, the source of its session, and a target.
type workbench struct {
	t      *testing.T
	dir    string
	source *imageSource
	stderr bytes.Buffer
}

func newWorkbench(t *testing.T) *workbench {
	t.Helper()
	w := &workbench{t: t, dir: t.TempDir()}
	noiseImage(t, w.dir)
	w.open()
	return w
}

// open makes a source of the image.
func (w *workbench) open() {
	w.t.Helper()
	im, err := openImageFile(w.t.Context(), filepath.Join(w.dir, "disk.img.zst"), &imageFlags{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { im.Close() })
	if w.source, err = newImageSource(im.Image); err != nil {
		w.t.Fatal(err)
	}
}

// receive lets work have a sink onto the target of that name, as receive does.
func (w *workbench) receive(name string, opt restoreOptions, work func(s *imageSink) error) error {
	w.t.Helper()
	e := &env{stderr: &w.stderr}
	o := &overwrite{env: e, dst: filepath.Join(w.dir, name), opt: opt, again: "again"}
	return o.hold(func() error {
		s := &imageSink{overwrite: o, digest: w.source.im.Digest[:], view: newReceiveView(e)}
		defer s.Close()
		err := work(s)
		s.view.close(err)
		if err != nil && !s.restored {
			return o.failed(w.t.Context(), err)
		}
		return err
	})
}

// pass brings the frames of numbers to s as a session does: each that is
// lacking, in no order, several at once.
func (w *workbench) pass(s *imageSink, plan multicast.Plan, numbers []int) (put int, err error) {
	numbers = slices.Clone(numbers)
	rand.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	var g errgroup.Group
	g.SetLimit(3)
	var n atomic.Int32
	for _, i := range numbers {
		if !plan.Lacks(i) {
			continue
		}
		g.Go(func() error {
			frame, err := w.source.ReadFrame(i, nil)
			if err == nil && len(frame) != plan.Sizes(i) {
				w.t.Errorf("frame %d has %d bytes, the plan says %d", i, len(frame), plan.Sizes(i))
			}
			if err == nil {
				err = s.PutFrame(w.t.Context(), i, frame)
			}
			n.Add(1)
			return err
		})
	}
	err = g.Wait()
	return int(n.Load()), err
}

// all brings everything and finishes.
func (w *workbench) all(s *imageSink) (put int, err error) {
	plan, err := s.Prepare(w.t.Context(), w.source.Preface())
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(plan.Name, w.source.im.Digest[:]) {
		w.t.Errorf("the plan's name is %x", plan.Name)
	}
	if put, err = w.pass(s, plan, w.numbers()); err != nil {
		return put, err
	}
	return put, s.Finish(w.t.Context())
}

func (w *workbench) numbers() []int {
	var list []int
	for i := range w.source.Frames() {
		list = append(list, i)
	}
	return list
}

func (w *workbench) wantDisk(name string) {
	w.t.Helper()
	wantSame(w.t, filepath.Join(w.dir, name), filepath.Join(w.dir, "disk.raw"))
}

func TestImageSource(t *testing.T) {
	w := newWorkbench(t)
	if got := w.source.Frames(); got != 8 {
		t.Errorf("%d frames, want 8", got)
	}
	for i := range w.source.Frames() {
		frame, err := w.source.ReadFrame(i, make([]byte, 10))
		if err != nil || len(frame) != w.source.FrameSize(i) {
			t.Errorf("frame %d: %d bytes, %v; want %d", i, len(frame), err, w.source.FrameSize(i))
		}
	}
	if _, err := image.OpenPreface(w.source.Preface()); err != nil {
		t.Errorf("the preface: %v", err)
	}
}

// In any order the target becomes the disk: a new file, one with other
// contents, and one that needs only what differs.
func TestImageSink(t *testing.T) {
	for _, tt := range []struct {
		name  string
		opt   restoreOptions
		flips []int64 // of the disk; nil for a new file
		put   int     // frames that must come
	}{
		{"new", restoreOptions{verify: true}, nil, 8},
		{"old", restoreOptions{}, []int64{0}, 8},
		{"delta", restoreOptions{delta: true}, []int64{3 << 20, 5<<20 + 1}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorkbench(t)
			if tt.flips != nil {
				disk, _ := os.ReadFile(filepath.Join(w.dir, "disk.raw"))
				for _, at := range tt.flips {
					disk[at] ^= 0xff
				}
				if err := os.WriteFile(filepath.Join(w.dir, "target.raw"), disk, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			err := w.receive("target.raw", tt.opt, func(s *imageSink) error {
				put, err := w.all(s)
				if put != tt.put {
					t.Errorf("%d frames came, want %d", put, tt.put)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			w.wantDisk("target.raw")
		})
	}
}

// A file keeps what it holds until the first good frame comes, and nothing of
// it is left in the end, even if the image is all zeros.
func TestImageSinkOldFile(t *testing.T) {
	w := newWorkbench(t)
	if err := os.WriteFile(filepath.Join(w.dir, "disk.raw"), make([]byte, 8<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	slipcast(t, "capture", "--force", filepath.Join(w.dir, "disk.raw"), filepath.Join(w.dir, "disk.img.zst"))
	w.open()
	old := make([]byte, 8<<20)
	copy(old[4<<20:], "old")
	if err := os.WriteFile(filepath.Join(w.dir, "target.raw"), old, 0o666); err != nil {
		t.Fatal(err)
	}
	unplugged := errors.New("unplugged")
	err := w.receive("target.raw", restoreOptions{}, func(s *imageSink) error {
		_, err := s.Prepare(t.Context(), w.source.Preface())
		if bad := s.PutFrame(t.Context(), 0, []byte("bad")); !errors.Is(bad, multicast.ErrBadFrame) {
			t.Errorf("a bad frame: %v", bad)
		}
		return errors.Join(err, unplugged)
	})
	if got, _ := os.ReadFile(filepath.Join(w.dir, "target.raw")); !errors.Is(err, unplugged) || !bytes.Equal(got, old) || w.stderr.Len() > 0 {
		t.Errorf("before the first frame: %v, said %q, want the old file as it was", err, &w.stderr)
	}
	err = w.receive("target.raw", restoreOptions{}, func(s *imageSink) error {
		_, err := w.all(s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.wantDisk("target.raw")
}

// A receiver that is ended and started again needs what it did not have, and
// says so.
func TestImageSinkResumes(t *testing.T) {
	w := newWorkbench(t)
	if err := os.WriteFile(filepath.Join(w.dir, "target.raw"), bytes.Repeat([]byte("old "), 2<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	unplugged := errors.New("unplugged")
	err := w.receive("target.raw", restoreOptions{}, func(s *imageSink) error {
		plan, err := s.Prepare(t.Context(), w.source.Preface())
		if err == nil {
			_, err = w.pass(s, plan, []int{2, 3, 5})
		}
		return errors.Join(err, unplugged)
	})
	if !errors.Is(err, unplugged) || !strings.Contains(w.stderr.String(), "it is not restored, and what it held is lost; again") {
		t.Fatalf("got %v, said %s", err, &w.stderr)
	}
	err = w.receive("target.raw", restoreOptions{}, func(s *imageSink) error {
		put, err := w.all(s)
		if put != 5 {
			t.Errorf("%d frames came, want 5", put)
		}
		return err
	})
	if err != nil || !strings.Contains(w.stderr.String(), "target.raw: goes on where it was cut short: 3 of 8 chunks are there\n") {
		t.Errorf("got %v, said %s", err, &w.stderr)
	}
	w.wantDisk("target.raw")
}

// What is wrong with a frame is wrong with that frame alone: it comes again.
// What the target does not take ends the receiver.
func TestImageSinkPutFrame(t *testing.T) {
	w := newWorkbench(t)
	good, err := w.source.ReadFrame(3, nil)
	if err != nil {
		t.Fatal(err)
	}
	flipped := slices.Clone(good)
	flipped[len(flipped)/2] ^= 1
	other, err := w.source.ReadFrame(4, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = w.receive("target.raw", restoreOptions{}, func(s *imageSink) error {
		if _, err := s.Prepare(t.Context(), w.source.Preface()); err != nil {
			return err
		}
		for name, bad := range map[string]struct {
			n     int
			frame []byte
		}{
			"empty": {3, nil}, "flipped": {3, flipped}, "cut": {3, good[:len(good)-1]}, "longer": {3, append(slices.Clone(good), 0)},
			"another": {0, make([]byte, 100)}, "behind the last": {8, other}, "before the first": {-1, other},
		} {
			if err := s.PutFrame(t.Context(), bad.n, bad.frame); !errors.Is(err, multicast.ErrBadFrame) {
				t.Errorf("%s: %v, want ErrBadFrame", name, err)
			}
		}
		if s.target.touched.Load() {
			t.Error("a bad frame has touched the target")
		}
		if err := s.PutFrame(t.Context(), 3, good); err != nil {
			t.Errorf("then the right one: %v", err)
		}
		s.target.Close() // as a disk that is pulled out
		if err := s.PutFrame(t.Context(), 4, other); err == nil || errors.Is(err, multicast.ErrBadFrame) {
			t.Errorf("a target that cannot be written: %v, want another error than ErrBadFrame", err)
		}
		return nil
	})
	if err == nil {
		t.Error("closing a closed target went well")
	}
}

// Nothing is written where the image is not what was offered, is damaged, or
// does not fit.
func TestImageSinkRefuses(t *testing.T) {
	w := newWorkbench(t)
	target := filepath.Join(w.dir, "small.raw")
	small := bytes.Repeat([]byte{7}, 1<<20)
	if err := os.WriteFile(target, small, 0o666); err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(w.source.Preface())
	damaged[len(damaged)/2] ^= 1
	for _, tt := range []struct {
		name    string
		digest  []byte
		preface []byte
		code    int
	}{
		{"another image", make([]byte, 32), w.source.Preface(), exitDamaged},
		{"damaged", w.source.im.Digest[:], damaged, exitDamaged},
		{"nothing", w.source.im.Digest[:], nil, exitDamaged},
		{"too small", w.source.im.Digest[:], w.source.Preface(), exitRefused},
	} {
		err := w.receive("small.raw", restoreOptions{}, func(s *imageSink) error {
			s.digest = tt.digest
			_, err := s.Prepare(t.Context(), tt.preface)
			return err
		})
		if got := exitCode(t.Context(), err); err == nil || got != tt.code {
			t.Errorf("%s: %v, exit code %d, want %d", tt.name, err, got, tt.code)
		}
		if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, small) {
			t.Errorf("%s: the target has changed, %v", tt.name, err)
		}
	}
}

// Without all frames there is no end, and a file that was made for them goes.
func TestImageSinkUnfinished(t *testing.T) {
	w := newWorkbench(t)
	err := w.receive("target.raw", restoreOptions{}, func(s *imageSink) error {
		plan, err := s.Prepare(t.Context(), w.source.Preface())
		if err == nil {
			_, err = w.pass(s, plan, []int{0, 1, 2, 3, 4, 5, 6})
		}
		if err != nil {
			return err
		}
		return s.Finish(t.Context())
	})
	if err == nil || !strings.Contains(err.Error(), "chunk 7 at offset 7340032: it did not come") {
		t.Errorf("got %v, want chunk 7 to be missed", err)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "target.raw")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the new file is there: %v", err)
	}
}

// A file system that cannot be grown does not make the session fail: the image
// is on the target. It is told by the exit code.
func TestImageSinkPart(t *testing.T) {
	lab.Tools(t, "mkfs.ext4")
	w := newWorkbench(t)
	lab.Run(t, "mkfs.ext4", "-q", filepath.Join(w.dir, "disk.raw"), "8M")
	slipcast(t, "capture", "--force", filepath.Join(w.dir, "disk.raw"), filepath.Join(w.dir, "disk.img.zst"))
	w.open()
	if err := os.WriteFile(filepath.Join(w.dir, "target.raw"), make([]byte, 16<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	var part error
	err := w.receive("target.raw", restoreOptions{grow: true}, func(s *imageSink) error {
		_, err := w.all(s)
		part = s.part
		return err
	})
	if err != nil || exitCode(t.Context(), part) != exitPart {
		t.Errorf("got %v, then %v; want the second alone, with exit code %d", err, part, exitPart)
	}
	lab.Run(t, "e2fsck", "-fn", filepath.Join(w.dir, "target.raw"))
}
