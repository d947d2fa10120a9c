package multicast

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestParseHeaderRefuses(t *testing.T) {
	data := "\x11\x00\x02\x05\x07\x00\x00\x00\x2c\x03\x00\x00\x88\x77\x00\x00"
	sync := "\x12\x01\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x88\x77\x00\x00"
	for _, p := range []string{data, sync} {
		if _, err := parseHeader([]byte(p)); err != nil {
			t.Fatalf("parseHeader(%x) = %v", p, err)
		}
	}
	tests := []struct{ name, datagram string }{
		{"empty", ""},
		{"one byte short", data[:15]},
		{"version 0", "\x01" + data[1:]},
		{"version 2", "\x21" + data[1:]},
		{"type 0", "\x10" + data[1:]},
		{"type 3", "\x13" + data[1:]},
		{"hurry in DATA", data[:1] + "\x01" + data[2:]},
		{"reserved flag in DATA", data[:1] + "\x80" + data[2:]},
		{"reserved flag in SYNC", sync[:1] + "\x03" + sync[2:]},
		{"block in SYNC", sync[:2] + "\x01" + sync[3:]},
		{"symbol in SYNC", sync[:3] + "\x01" + sync[4:]},
		{"frame in SYNC", sync[:8] + "\x01" + sync[9:]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if h, err := parseHeader([]byte(tt.datagram)); !errors.Is(err, errMalformed) {
				t.Errorf("parseHeader(%x) = %+v, %v, want errMalformed", tt.datagram, h, err)
			}
		})
	}
}

// Refusing costs no memory: anyone can send datagrams.
func TestParseHeaderAllocates(t *testing.T) {
	p := make([]byte, headerSize)
	if n := testing.AllocsPerRun(100, func() { parseHeader(p) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func TestPosition(t *testing.T) {
	if got, want := (header{epoch: 3, sequence: 7}).position(), uint64(3<<32+7); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

// FuzzHeader: what is accepted encodes to the same bytes.
func FuzzHeader(f *testing.F) {
	f.Add(header{kind: kindData, block: 2, symbol: 5, sequence: 7, frame: 812, tag: 0x7788}.append(nil))
	f.Add(header{kind: kindSync, hurry: true, sequence: 7, lane: 1, epoch: 2}.append(nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		h, err := parseHeader(p)
		if err != nil {
			if !errors.Is(err, errMalformed) {
				t.Errorf("%x: %v, want errMalformed", p, err)
			}
			return
		}
		if again := h.append(nil); !bytes.Equal(again, p[:headerSize]) {
			t.Errorf("%x parses to %+v, which encodes to %x", p, h, again)
		}
	})
}

func TestSync(t *testing.T) {
	p := bytes.Repeat([]byte{0xaa}, 256)
	putSync(p, 20*time.Millisecond, 10*time.Millisecond)
	usual, hurried, err := parseSync(p)
	if err != nil || usual != 20*time.Millisecond || hurried != 10*time.Millisecond {
		t.Errorf("parseSync = %v, %v, %v, want 20 ms, 10 ms", usual, hurried, err)
	}
}

func TestParseSyncRefuses(t *testing.T) {
	const ms = "\xe8\x03\x00\x00" // and 100 ms, below
	const ms100 = "\xa0\x86\x01\x00"
	tests := []struct{ name, payload string }{
		{"too short", ms100 + ms100[:3]},
		{"an interval of 1 ms", ms + ms100 + "\x00"},
		{"a hurried interval of 1 ms", ms100 + ms + "\x00"},
		{"an interval of more than a second", "\x41\x42\x0f\x00" + ms100 + "\x00"},
		{"a hurried interval of more than a second", ms100 + "\x41\x42\x0f\x00\x00"},
		{"bytes that are not zero", ms100 + ms100 + "\x00\x01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if usual, hurried, err := parseSync([]byte(tt.payload)); !errors.Is(err, errMalformed) {
				t.Errorf("parseSync(%x) = %v, %v, %v, want errMalformed", tt.payload, usual, hurried, err)
			}
		})
	}
}

// FuzzSync: what is accepted encodes to the same bytes.
func FuzzSync(f *testing.F) {
	p := make([]byte, 16)
	putSync(p, time.Second, 10*time.Millisecond)
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		usual, hurried, err := parseSync(p)
		if err != nil {
			return
		}
		again := bytes.Repeat([]byte{0xaa}, len(p))
		if putSync(again, usual, hurried); !bytes.Equal(again, p) {
			t.Errorf("%x parses to %v, %v, which encode to %x", p, usual, hurried, again)
		}
	})
}
