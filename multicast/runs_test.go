package multicast

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

// members lists s.
func members(s *frameSet) []uint32 {
	var list []uint32
	for i := s.next(0); i >= 0; i = s.next(i + 1) {
		list = append(list, uint32(i))
	}
	return list
}

func TestRunsRefuse(t *testing.T) {
	tests := []struct{ name, runs string }{
		{"empty", ""},
		{"one run and no more", "\x01"},
		{"no length", "\x01\x03"},
		{"empty run", "\x01\x03\x00"},
		{"two runs that are one", "\x02\x03\x01\x00\x01"},
		{"beyond the last number", "\x01\x08\x03"},
		{"starts beyond the last number", "\x01\x0a\x01"},
		{"length of 2^64-1", "\x01\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
		{"more than 64 bits", "\x01\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"},
		{"not the shortest form", "\x01\x83\x00\x01"},
		{"more runs than bytes", "\xff\xff\xff\x7f\x01\x01"},
		{"bytes left over", "\x01\x03\x01\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newFrameSet(10)
			if err := parseRuns([]byte(tt.runs), s); !errors.Is(err, errMalformed) {
				t.Errorf("parseRuns(%x) = %v, members %d, want errMalformed", tt.runs, err, members(s))
			}
		})
	}
}

// FuzzRuns: what is accepted encodes to the same bytes, and so does its list.
func FuzzRuns(f *testing.F) {
	f.Add([]byte{0}, 0)
	f.Add([]byte{2, 3, 3, 3, 1}, 10)
	f.Add([]byte{2, 0, 64, 64, 72}, 200)
	f.Fuzz(func(t *testing.T, p []byte, n int) {
		s := newFrameSet(min(max(n, 0), 1<<20))
		if parseRuns(p, s) != nil {
			return
		}
		list := members(s)
		if again := appendRuns(nil, s); !bytes.Equal(again, p) {
			t.Errorf("%x parses to %d, which encodes to %x", p, list, again)
		}
		if again := appendListRuns(nil, list); !bytes.Equal(again, p) || s.len() != len(list) || !slices.IsSorted(list) {
			t.Errorf("%x parses to %d numbers, the list %d, which encodes to %x", p, s.len(), list, again)
		}
	})
}
