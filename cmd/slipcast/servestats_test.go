package main

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/pxe"
	"slipcast/pxe/tftp"
)

// Each counter of what goes wrong is told once, after the hour, and an hour in
// which nothing more went wrong is not.
func TestServeLogTrouble(t *testing.T) {
	tests := []struct {
		stats pxe.Stats
		want  string // in the line, "" for no line
	}{
		{pxe.Stats{Requests: 7, Answers: 5, Ignored: 2, HTTP: 9, Scripts: 4, Offers: 1, TFTP: tftp.Stats{Active: 1, Started: 3, Done: 1, Probes: 1, Missing: 1, Bytes: 9}}, ""},
		{pxe.Stats{Malformed: 1}, "dhcp.malformed=1"},
		{pxe.Stats{Dropped: 2}, "dhcp.dropped=2"},
		{pxe.Stats{Unsent: 3}, "dhcp.unsent=3"},
		{pxe.Stats{Declined: 4}, "dhcp.declined=4"},
		{pxe.Stats{Refused: 5}, "http.refused=5"},
		{pxe.Stats{TFTP: tftp.Stats{Failed: 6}}, "tftp.failed=6"},
		{pxe.Stats{TFTP: tftp.Stats{Refused: 7}}, "tftp.refused=7"},
		{pxe.Stats{TFTP: tftp.Stats{Malformed: 8}}, "tftp.malformed=8"},
		{pxe.Stats{TFTP: tftp.Stats{Strangers: 9}}, "tftp.strangers=9"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			began := time.Now()
			stats := func() pxe.Stats {
				if time.Since(began) < time.Minute {
					return pxe.Stats{}
				}
				return tt.stats
			}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour+time.Minute)
			defer cancel()
			if err := logTrouble(ctx, slog.New(slog.NewTextHandler(&out, nil)), stats); err != nil {
				t.Fatal(err)
			}
			lines := strings.Count(out.String(), "\n")
			if tt.want == "" && lines != 0 || tt.want != "" && (lines != 1 || !strings.Contains(out.String(), " "+tt.want+" ")) {
				t.Errorf("three hours with %+v log\n%s\nwant one line with %q, or none", tt.stats, &out, tt.want)
			}
		})
	}
}
