package multicast

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

// A testSource has frames of random bytes. Its preface lists their lengths.
type testSource struct {
	preface    []byte
	frames     [][]byte
	unreadable map[int]error // by frame
}

func newTestSource(seed uint64, sizes ...int) *testSource {
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	s := &testSource{}
	for _, n := range sizes {
		p := make([]byte, n)
		rng.Read(p)
		s.frames = append(s.frames, p)
		s.preface = binary.LittleEndian.AppendUint32(s.preface, uint32(n))
	}
	return s
}

// equalFrames returns n lengths of size.
func equalFrames(n, size int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = size
	}
	return list
}

func (s *testSource) Preface() []byte     { return s.preface }
func (s *testSource) Frames() int         { return len(s.frames) }
func (s *testSource) FrameSize(n int) int { return len(s.frames[n]) }
func (s *testSource) ReadFrame(n int, buf []byte) ([]byte, error) {
	return append(buf[:0], s.frames[n]...), s.unreadable[n]
}

// A testSink checks what it gets against a source.
type testSink struct {
	want *testSource
	has  func(n int) bool // what it holds already; nil for nothing
	put  func(n int) error

	prepare, finish func(ctx context.Context) error // called first; nil for nothing
	blind           bool                            // it knows the sizes without the preface
	stuck           bool                            // it puts nothing, until it is told to end
	annex           bool                            // it takes the annex

	mu       sync.Mutex
	got      map[int]int
	finished int
}

func (s *testSink) Prepare(ctx context.Context, preface []byte) (Plan, error) {
	if s.prepare != nil {
		if err := s.prepare(ctx); err != nil {
			return Plan{}, err
		}
	}
	if !bytes.Equal(preface, s.want.preface) {
		return Plan{}, errors.New("another preface")
	}
	s.got = map[int]int{}
	return Plan{
		Sizes: func(n int) int {
			if s.blind {
				return len(s.want.frames[n])
			}
			return int(binary.LittleEndian.Uint32(preface[4*n:]))
		},
		Lacks: func(n int) bool { return s.has == nil || !s.has(n) },
		Annex: s.annex,
	}, nil
}

func (s *testSink) PutFrame(ctx context.Context, n int, frame []byte) error {
	if s.stuck {
		<-ctx.Done()
		return ctx.Err()
	}
	if s.put != nil {
		if err := s.put(n); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !bytes.Equal(frame, s.want.frames[n]) {
		return fmt.Errorf("frame %d: %w", n, ErrBadFrame)
	}
	s.got[n]++
	return nil
}

func (s *testSink) Finish(ctx context.Context) error {
	s.finished++
	if s.finish != nil {
		return s.finish(ctx)
	}
	return nil
}

// check checks that the sink got each frame that it lacked, once.
func (s *testSink) check(t *testing.T) {
	t.Helper()
	for n := range s.want.frames {
		want := 1
		if s.has != nil && s.has(n) {
			want = 0
		}
		if s.got[n] != want {
			t.Errorf("frame %d came %d times, want %d", n, s.got[n], want)
		}
	}
	if s.finished != 1 {
		t.Errorf("finished %d times, want 1", s.finished)
	}
}

func testLog(t *testing.T) *slog.Logger {
	if !testing.Verbose() {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestSession(t *testing.T) {
	checkLeaks(t)
	source := newTestSource(1, append(equalFrames(20, 1<<20), 1, 1440, 1441, 300000)...)
	s := &Sender{Source: source, Name: "room", Digest: []byte("digest"), Interface: "lo", Listen: "127.0.0.1:0", Rate: 500e6, Wait: 3, Log: testLog(t)}
	up := make(chan Address, 1)
	s.Up = func(a Address) { up <- a }
	served := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() { served <- s.Serve(ctx) }()
	a := <-up
	var sinks []*testSink
	var running sync.WaitGroup
	for i := range 3 {
		sink := &testSink{want: source}
		if i == 2 {
			sink.has = func(n int) bool { return n%2 == 0 }
		}
		sinks = append(sinks, sink)
		r := &Receiver{Sink: sink, From: a.Control.String(), Interface: "lo", ID: fmt.Sprint(i), Name: fmt.Sprint("pc", i), Log: testLog(t)}
		running.Go(func() {
			p, err := r.Run(ctx)
			t.Logf("%+v", p)
			if err != nil {
				t.Errorf("receiver %d: %v", i, err)
			}
		})
	}
	running.Wait()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	t.Logf("%+v", s.Status())
	for _, sink := range sinks {
		sink.check(t)
	}
}
