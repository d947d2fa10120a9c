package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"slipcast/image"
)

// workerEnv makes this test binary a process that works on a store: its value is
// the folder, and the number of the worker behind a colon.
const workerEnv = "SLIPCAST_STORE_WORKER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(workerEnv); dir != "" {
		seed, err := strconv.Atoi(os.Getenv(workerEnv + "_SEED"))
		if err == nil {
			err = work(context.Background(), dir, seed, 1<<30, func() { fmt.Println("a round is done") })
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// tb is a testing.TB for captures without a test.
type tb struct{ testing.TB }

func (tb) Helper()           {}
func (tb) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// work adds, reads, removes and collects at random, and checks each time that
// what it has added is there. Each worker has a name of its own, and chunks from
// the same few. It calls done after each round.
func work(ctx context.Context, dir string, seed, rounds int, done func()) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(uint64(seed), 7))
	name := fmt.Sprintf("w%d", seed)
	for range rounds {
		numbers := make([]int, 1+rng.IntN(6))
		for i := range numbers {
			numbers[i] = rng.IntN(8)
		}
		level := []image.Level{image.LevelFast, image.LevelBest}[rng.IntN(2)]
		if err := addAndCheck(ctx, s, name, capture(tb{}, level, numbers...), newDisk(numbers...)); err != nil {
			return fmt.Errorf("worker %d: %w", seed, err)
		}
		if _, err := s.GC(ctx); err != nil {
			return fmt.Errorf("worker %d: gc: %w", seed, err)
		}
		list, err := s.versions(name)
		if err != nil {
			return err
		}
		for len(list) > 2 {
			if err := s.Remove(ctx, list[0].Ref); err != nil {
				return fmt.Errorf("worker %d: %w", seed, err)
			}
			list = list[1:]
		}
		done()
	}
	return nil
}

// addAndCheck adds an image and reads the disk in it.
func addAndCheck(ctx context.Context, s *Store, name string, p []byte, want disk) error {
	a, err := s.AddStream(ctx, bytes.NewReader(p), name, AddOptions{})
	if err != nil {
		return fmt.Errorf("adding: %w", err)
	}
	im, err := s.OpenImage(a.Ref)
	if err != nil {
		return fmt.Errorf("opening %v: %w", a.Ref, err)
	}
	defer im.Close()
	if err := im.Verify(ctx, image.VerifyOptions{}); err != nil {
		return fmt.Errorf("verifying %v: %w", a.Ref, err)
	}
	r, err := image.NewReader(im.Assembled.Image)
	if err != nil {
		return err
	}
	defer r.Close()
	got := make([]byte, len(want))
	if _, err := r.ReadAt(got, 0); err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("another disk comes back")
	}
	return nil
}

// Many who add, remove and collect at once lose nothing: goroutines with a Store
// each, since locks belong to open files.
func TestCrowd(t *testing.T) {
	s := newStore(t)
	g, ctx := errgroup.WithContext(t.Context())
	for seed := range 4 {
		g.Go(func() error { return work(ctx, s.Dir(), seed, 12, func() {}) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if v := mustVerify(t, s); v.Images < 4 {
		t.Errorf("%d images, want 4 or more", v.Images)
	}
	if _, err := s.GC(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.path(addingName)); len(left) > 0 || err != nil {
		t.Errorf("%d folders of adds are left, %v", len(left), err)
	}
	if v := mustVerify(t, s); v.Frames > 8 {
		t.Errorf("%d frames after GC, there are only 8 chunks", v.Frames)
	}
}

// Processes that are killed at any moment leave a good store, and take nothing from
// those that go on.
func TestKilled(t *testing.T) {
	s := newStore(t)
	g, ctx := errgroup.WithContext(t.Context())
	g.Go(func() error { return work(ctx, s.Dir(), 0, 12, func() {}) })
	for seed := 1; seed <= 2; seed++ {
		g.Go(func() error {
			for i := range 7 {
				if err := killedWorker(ctx, s.Dir(), seed, time.Duration(17*i+seed)*time.Millisecond); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	mustVerify(t, s)
	if c, err := s.GC(t.Context()); err != nil {
		t.Errorf("GC = %+v, %v", c, err)
	}
	if left, err := os.ReadDir(s.path(addingName)); len(left) > 0 || err != nil {
		t.Errorf("%d folders of adds are left, %v", len(left), err)
	}
	if v := mustVerify(t, s); v.Images < 3 || v.Frames > 8 {
		t.Errorf("%d images with %d frames, want images of all three workers and at most 8 frames", v.Images, v.Frames)
	}
}

// killedWorker runs a worker in a process of its own and kills it a while after
// its first round.
func killedWorker(ctx context.Context, dir string, seed int, after time.Duration) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var told bytes.Buffer
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), workerEnv+"="+dir, fmt.Sprintf("%s_SEED=%d", workerEnv, seed))
	cmd.Stderr = &told
	rounds, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	rounds.Read(make([]byte, 1)) // nothing, if it ended by itself
	timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	defer timer.Stop()
	io.Copy(io.Discard, rounds)
	cmd.Wait() // it was killed, or says why not
	if told.Len() > 0 {
		return fmt.Errorf("a worker ended by itself: %s", told.String())
	}
	return nil
}
