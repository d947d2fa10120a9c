package main

import (
	"testing"
	"time"

	"slipcast/fleet"
)

// A session waits for machines that are booting, and not for long where all of
// them are there.
func TestServeSessionPatience(t *testing.T) {
	tests := []struct {
		gather time.Duration
		room   fleet.Room
		want   time.Duration
	}{
		{0, fleet.Room{Booting: 1, AtWork: 1}, defaultGather},
		{time.Hour, fleet.Room{Booting: 3}, time.Hour},
		{time.Hour, fleet.Room{AtWork: 2}, reunion},
		{time.Second, fleet.Room{AtWork: 2}, time.Second},
	}
	for _, tt := range tests {
		s := &serveSessions{gather: tt.gather}
		if got := s.patience(tt.room); got != tt.want {
			t.Errorf("patience(%+v) with gather %v = %v, want %v", tt.room, tt.gather, got, tt.want)
		}
	}
}
