package fsmap

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"
)

func TestDecodeRuns(t *testing.T) {
	const clusters = 1 << 40
	tests := []struct {
		name string
		hex  string
		vcn  int64
		want []ntfsRun
	}{
		{"empty", "00", 0, nil},
		{"nothing at all", "", 0, nil},
		{"one run", "21 18 34 56 00", 0, []ntfsRun{{0, 0x5634, 0x18}}},
		{"without an end", "21 18 34 56", 0, []ntfsRun{{0, 0x5634, 0x18}}},
		{"continued at 100", "11 02 05 00", 100, []ntfsRun{{100, 5, 2}}},
		{"negative delta", "21 10 00 10 11 08 F0 00", 0, []ntfsRun{{0, 0x1000, 0x10}, {0x10, 0xFF0, 8}}},
		{"hole, then a delta from the run before it", "11 30 60 01 10 11 10 05 00", 0,
			[]ntfsRun{{0, 0x60, 0x30}, {0x30, ntfsHole, 0x10}, {0x40, 0x65, 0x10}}},
		{"length in two bytes, so that it is not negative", "12 80 00 05 00", 0, []ntfsRun{{0, 5, 0x80}}},
		{"eight bytes each", "88 0100000000000000 0200000000000000 00", 0, []ntfsRun{{0, 2, 1}}},
		{"at cluster zero", "11 10 00 00", 0, []ntfsRun{{0, 0, 16}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, next, err := decodeRuns(nil, ntfsHex(t, tt.hex), tt.vcn, clusters)
			if err != nil || !slices.Equal(got, tt.want) {
				t.Fatalf("got %v, %v, want %v", got, err, tt.want)
			}
			end := tt.vcn
			for _, r := range got {
				end += r.length
			}
			if next != end {
				t.Errorf("next cluster is %d, want %d", next, end)
			}
		})
	}
}

func TestDecodeRunsRejects(t *testing.T) {
	tests := []struct{ name, hex string }{
		{"length without bytes", "10 05 00"},
		{"length of zero", "11 00 05 00"},
		{"negative length", "11 80 05 00"},
		{"length of nine bytes", "19 010000000000000000 05 00"},
		{"place of nine bytes", "91 01 050000000000000000 00"},
		{"cut within the length", "14 01 00"},
		{"cut within the place", "41 01 05 00"},
		{"before the first cluster", "11 01 FF 00"},
		{"before the first cluster, later", "11 01 05 11 01 FA 00"},
		{"behind the last cluster", "21 01 E8 03 00"},
		{"across the last cluster", "22 E8 03 01 00 00"},
		{"hole that is too long", "08 FFFFFFFFFFFFFF7F 00"},
		{"holes that are too long together", "06 FFFFFFFFFF00 06 FFFFFFFFFF00 06 FFFFFFFFFF00 00"},
		{"places whose sum wraps", "81 01 FFFFFFFFFFFFFF7F 00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, err := decodeRuns(nil, ntfsHex(t, tt.hex), 0, 1000); !errors.Is(err, errDamaged) {
				t.Errorf("got %v, %v, want damage", got, err)
			}
		})
	}
}

func TestDecodeRunsBoundsTheirNumber(t *testing.T) {
	runs := make([]ntfsRun, ntfsMaxRuns)
	if _, _, err := decodeRuns(runs, []byte{0x11, 1, 5, 0}, 0, 1000); err == nil {
		t.Error("one run more than the limit: got no error")
	}
}

func FuzzNTFSRuns(f *testing.F) {
	f.Add([]byte{0x21, 0x18, 0x34, 0x56, 0x11, 8, 0xF0, 1, 5, 0}, int64(1<<20))
	f.Fuzz(func(t *testing.T, p []byte, clusters int64) {
		runs, next, err := decodeRuns(nil, p, 0, clusters)
		if err != nil {
			return
		}
		again, end, err := decodeRuns(nil, encodeRuns(runs), 0, clusters)
		if err != nil || end != next || !slices.Equal(again, runs) {
			t.Errorf("%x decodes to %v, which encodes to %v, %v", p, runs, again, err)
		}
		for _, r := range runs {
			if r.lcn != ntfsHole && (r.lcn < 0 || r.lcn+r.length > clusters) {
				t.Errorf("%x: run %v beyond %d clusters", p, r, clusters)
			}
		}
	})
}

// ntfsHex decodes hex digits with blanks between them.
func ntfsHex(t testing.TB, s string) []byte {
	t.Helper()
	p, err := hex.DecodeString(string(slices.DeleteFunc([]byte(s), func(b byte) bool { return b == ' ' })))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
