package progress

import (
	"math"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	tests := []struct {
		n    int64
		want string
	}{
		{0, "0 B"},
		{1023, "1023 B"},
		{-512, "-512 B"},
		{1024, "1.0 KiB"},
		{3435973837, "3.2 GiB"},
		{12 << 30, "12.0 GiB"},
		{99<<20 + 1000<<10, "100 MiB"}, // 99.98, not 100.0
		{410 << 20, "410 MiB"},
		{1023<<20 + 400<<10, "1023 MiB"},
		{1<<30 - 1, "1.0 GiB"}, // not 1024 MiB
		{1 << 40, "1.0 TiB"},
		{-3 << 30, "-3.0 GiB"},
		{math.MaxInt64, "8.0 EiB"},
		{math.MinInt64, "-8.0 EiB"},
	}
	for _, tt := range tests {
		if got := Bytes(tt.n); got != tt.want {
			t.Errorf("Bytes(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want string
	}{
		{0, "0s"},
		{40 * time.Millisecond, "0.0s"},
		{420 * time.Millisecond, "0.4s"},
		{3 * time.Second, "3s"},
		{9960 * time.Millisecond, "10.0s"},
		{59400 * time.Millisecond, "59s"},
		{59600 * time.Millisecond, "1m00s"},
		{118 * time.Second, "1m58s"},
		{time.Hour - time.Second, "59m59s"},
		{time.Hour - 400*time.Millisecond, "1h00m"},
		{2*time.Hour + 3*time.Minute + 10*time.Second, "2h03m"},
		{100 * time.Hour, "100h00m"},
	}
	for _, tt := range tests {
		if got := Duration(tt.d); got != tt.want {
			t.Errorf("Duration(%d) = %q, want %q", tt.d, got, tt.want)
		}
	}
}
