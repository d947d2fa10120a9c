package progress

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const gib = 1 << 30

// work runs f with a meter in a bubble where time costs nothing, and returns
// what the meter wrote.
func work(t *testing.T, opt Options, f func(m *Meter)) string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		opt.Out = &out
		m := New(opt)
		f(m)
		m.Done(nil)
	})
	return out.String()
}

// pass lets seconds pass, with n bytes done in the middle of each, and the
// tick at the end of the last.
func pass(m *Meter, seconds int, n int64) {
	for range seconds {
		time.Sleep(500 * time.Millisecond)
		m.Add(n)
		time.Sleep(500 * time.Millisecond)
	}
	time.Sleep(time.Millisecond)
}

func TestLog(t *testing.T) {
	got := work(t, Options{Mode: Log, Label: "capturing", Total: 60 * gib}, func(m *Meter) {
		m.Add(6 * gib)
		pass(m, 59, 100<<20)
		pass(m, 2, 200<<20)
	})
	want := "slipcast: capturing: 8.9 GiB of 60.0 GiB (14 %), 305 MiB/s, 2m52s left\n" +
		"slipcast: capturing: 12.0 GiB of 60.0 GiB (19 %), 103 MiB/s, 7m57s left\n"
	if got != want {
		t.Errorf("log:\n%swant:\n%s", got, want)
	}
}

func TestLogOfStream(t *testing.T) {
	got := work(t, Options{Mode: Log, Label: "capturing"}, func(m *Meter) {
		pass(m, 29, 1<<20)
		pass(m, 1, 0)
	})
	if want := "slipcast: capturing: 29.0 MiB, 990 KiB/s\n"; got != want {
		t.Errorf("log = %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	got := work(t, Options{Mode: JSON, Label: "capturing", Stage: "capture", Total: 1000}, func(m *Meter) {
		m.Add(100)
		time.Sleep(2500 * time.Millisecond)
		m.Add(900)
	})
	want := `{"type":"progress","schema":1,"stage":"capture","done":100,"total":1000,"rate":100,"left_seconds":9}
{"type":"progress","schema":1,"stage":"capture","done":100,"total":1000,"rate":50,"left_seconds":18}
{"type":"progress","schema":1,"stage":"capture","done":1000,"total":1000,"rate":400,"left_seconds":0}
`
	if got != want {
		t.Errorf("events:\n%swant:\n%s", got, want)
	}
}

// TestJSONUnknown shows that what is unknown is absent, not zero, and that
// work which failed has no last event.
func TestJSONUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := New(Options{Out: &out, Mode: JSON, Stage: "restore"})
		time.Sleep(1500 * time.Millisecond)
		m.Done(errors.New("disk full"))
		var got map[string]any
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%v in %q, want one object", err, &out)
		}
		for _, key := range []string{"total", "left_seconds"} {
			if v, ok := got[key]; ok {
				t.Errorf("%s = %v, want none", key, v)
			}
		}
	})
}

func TestQuiet(t *testing.T) {
	got := work(t, Options{Mode: Quiet, Total: 1000}, func(m *Meter) { pass(m, 100, 10) })
	if got != "" {
		t.Errorf("quiet wrote %q", got)
	}
	m := New(Options{}) // nowhere to write
	m.Add(1)
	m.Done(nil)
}

// TestAdd is for the race detector, and counts.
func TestAdd(t *testing.T) {
	got := work(t, Options{Mode: JSON, Total: 8000, Interval: time.Millisecond}, func(m *Meter) {
		var g sync.WaitGroup
		for range 8 {
			g.Go(func() {
				for range 1000 {
					m.Add(1)
				}
			})
		}
		g.Wait()
	})
	if !strings.Contains(got, `"done":8000,"total":8000`) {
		t.Errorf("events %s, want one that says 8000 of 8000", got)
	}
}

// TestDone shows that nothing is written once Done has returned, and that
// Done may be called again.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		m := New(Options{Out: &out, Mode: Log, Label: "capturing"})
		time.Sleep(45 * time.Second)
		m.Done(nil)
		before := out.String()
		m.Add(5)
		m.Done(nil)
		time.Sleep(time.Hour)
		if got := out.String(); got != before {
			t.Errorf("after Done: %q, want %q", got, before)
		}
	})
}

func TestDetect(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, &bytes.Buffer{}} {
		if got := Detect(w); got != Log {
			t.Errorf("Detect(%T) = %v, want Log", w, got)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	m := New(Options{Out: io.Discard, Mode: JSON, Total: 1 << 40})
	defer m.Done(nil)
	for b.Loop() {
		m.Add(1 << 20)
	}
}

// TestRelabel shows that work can change its name.
func TestRelabel(t *testing.T) {
	got := work(t, Options{Mode: Log, Label: "waiting"}, func(m *Meter) {
		pass(m, 30, 0)
		m.Relabel("receiving")
		pass(m, 30, 0)
	})
	want := "slipcast: waiting: 0 B, 0 B/s\nslipcast: receiving: 0 B, 0 B/s\n"
	if got != want {
		t.Errorf("log:\n%swant:\n%s", got, want)
	}
}
