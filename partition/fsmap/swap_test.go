package fsmap

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"slipcast/internal/lab"
	"slipcast/partition"
)

// mkSwap makes a swap area with pages of the given size.
func mkSwap(t testing.TB, size, page int64) string {
	t.Helper()
	lab.Tools(t, "mkswap")
	path := lab.File(t, size)
	lab.Run(t, "mkswap", "-L", "SWAP", "-p", fmt.Sprint(page), path)
	return path
}

// Only the first page counts: after garbage around it blkid still knows the
// area, and nothing in the first page has changed.
func TestSwapGarbage(t *testing.T) {
	for _, page := range swapPageSizes {
		t.Run(fmt.Sprint(page), func(t *testing.T) {
			path := mkSwap(t, 8<<20, page)
			m := mapPath(t, path)
			wantMap(t, m, path)
			if want := (partition.Extent{Length: page}); len(m.Used) != 1 || m.Used[0] != want || m.Size != 8<<20 {
				t.Errorf("got %v of %d bytes, want %v", m.Used, m.Size, want)
			}
			garbageAround(t, m, path)
			wantMap(t, mapPath(t, path), path)
		})
	}
}

func TestSwapBigEndian(t *testing.T) {
	o := newOverlay(bytes.NewReader(make([]byte, 1<<20)), 1<<20)
	o.write(4086, []byte("SWAPSPACE2"))
	o.write(1024, []byte{0, 0, 0, 1, 0, 0, 0, 99})
	if m := mapOverlay(t, o); m.Whole || m.Size != 100*4096 || m.Used.Size() != 4096 {
		t.Errorf("got whole %v, size %d, used %v, notes %q", m.Whole, m.Size, m.Used, m.Notes)
	}
}

func TestSwapWhole(t *testing.T) {
	tests := []struct {
		name string
		at   int64
		put  string
		kind string
		want string
	}{
		{"version 0", 4086, "SWAP-SPACE", "swap", "version 0"},
		{"version 2", 1024, "\x02", "swap", "unknown version"},
		{"no pages", 1028, "\x00\x00\x00\x00", "swap", "a swap area of 4096 bytes"},
		{"more pages than the volume", 1028, "\x00\x01", "swap", "a swap area of 1052672 bytes on a volume of 1048576"},
		{"a list longer than the page", 1032, "\x7E\x02", "swap", "a list of 638 bad pages"},
		{"suspended by the kernel", 4086, "S1SUSPEND\x00", "swsuspend", "a suspended system"},
		{"suspended by an old kernel", 4086, "S2SUSPEND\x00", "swsuspend", "a suspended system"},
		{"suspended by s2disk", 4086, "ULSUSPEND\x00", "swsuspend", "a suspended system"},
		{"suspended by a new kernel", 4086, "LINHIB0001", "swsuspend", "a suspended system"},
		{"suspended, larger pages", 65526, "S1SUSPEND\x00", "swap", "swap signatures for pages of 4096 and of 65536"},
		{"suspended by TuxOnIce", 0, swapTuxOnIce + strings.Repeat("\x00", 4096), "swsuspend", "TuxOnIce"},
	}
	path := mkSwap(t, 1<<20, 4096)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := openOverlay(t, path)
			o.write(tt.at, []byte(tt.put))
			wantCaptured(t, mapOverlay(t, o), tt.kind, tt.want)
		})
	}
}

func TestSwapTruncated(t *testing.T) {
	o := openOverlay(t, mkSwap(t, 1<<20, 4096))
	o.size -= 4096
	wantCaptured(t, mapOverlay(t, o), "swap", "on a volume of")
	o.size = 4000
	wantCaptured(t, mapOverlay(t, o), "", "unknown contents")
}

// FuzzSwap: whatever is on a volume, Read keeps its promises, and the map of a
// swap area is its first page.
func FuzzSwap(f *testing.F) {
	base := make([]byte, 128<<10)
	f.Add(append(change(4086, "SWAPSPACE2"), change(1024, "\x01\x00\x00\x00\x0F\x00\x00\x00")...))
	f.Add(append(change(65526, "SWAPSPACE2"), change(1024, "\x01\x00\x00\x00\x01\x00\x00\x00")...))
	f.Add(append(change(8182, "SWAPSPACE2"), change(1024, "\x00\x00\x00\x01\x00\x00\x00\x02")...))
	f.Add(change(4086, "LINHIB0001"))
	f.Fuzz(func(t *testing.T, changes []byte) {
		o := newOverlay(bytes.NewReader(base), int64(len(base)))
		o.patch(changes)
		m := mapOverlay(t, o)
		if m.Type == "swap" && !m.Whole && (m.Used.Size() != m.BlockSize || m.Used[0].Start != 0) {
			t.Errorf("got %v for pages of %d bytes", m.Used, m.BlockSize)
		}
	})
}
