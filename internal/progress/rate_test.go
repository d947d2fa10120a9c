package progress

import (
	"testing"
	"time"
)

func TestStateLeft(t *testing.T) {
	tests := []struct {
		name string
		s    state
		want time.Duration
		ok   bool
	}{
		{"half", state{done: 50, total: 100, rate: 10}, 5 * time.Second, true},
		{"rounded up", state{done: 99, total: 100, rate: 10}, time.Second, true},
		{"nothing", state{done: 100, total: 100, rate: 10}, 0, true},
		{"more than all", state{done: 120, total: 100, rate: 10}, 0, true},
		{"unknown total", state{done: 50, rate: 10}, 0, false},
		{"stalled", state{done: 50, total: 100}, 0, false},
		{"going backwards", state{done: 50, total: 100, rate: -1}, 0, false},
		{"no forecast", state{total: 1 << 62, rate: 1e-9}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := tt.s.left(); got != tt.want || ok != tt.ok {
				t.Errorf("left() = %v, %v, want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestStatePercent(t *testing.T) {
	tests := []struct {
		done, total int64
		want        int
	}{
		{0, 100, 0},
		{999, 1000, 99},
		{100, 100, 100},
		{101, 100, 100},
		{7, 0, 0},
		{1 << 62, 1 << 62, 100},
	}
	for _, tt := range tests {
		if got := (state{done: tt.done, total: tt.total}).percent(); got != tt.want {
			t.Errorf("percent of %d of %d = %d, want %d", tt.done, tt.total, got, tt.want)
		}
	}
}

// TestHistory shows that the rate forgets what is older than the window, and
// that the memory of it does not grow.
func TestHistory(t *testing.T) {
	var h history
	start := time.Unix(0, 0)
	if got := h.add(start, 0); got != 0 {
		t.Errorf("first rate = %v, want 0", got)
	}
	var done int64
	var rate float64
	second := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	for i := 1; i <= 100; i++ { // 10 bytes a second
		done += 10
		rate = h.add(second(i), done)
	}
	if rate != 10 {
		t.Errorf("rate = %v, want 10", rate)
	}
	if len(h) != 6 {
		t.Errorf("%d samples, want 6", len(h))
	}
	for i := 101; i <= 105; i++ { // a stall
		rate = h.add(second(i), done)
	}
	if rate != 0 {
		t.Errorf("rate after a stall = %v, want 0", rate)
	}
}
