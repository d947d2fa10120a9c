package multicast

import (
	"bytes"
	"errors"
	"testing"
)

// with returns a copy of p with some bytes in another place.
func with(p []byte, at int, b ...byte) []byte {
	p = bytes.Clone(p)
	copy(p[at:], b)
	return p
}

func TestParseAnnouncementRefuses(t *testing.T) {
	a := testAnnouncement()
	a.keyed = false
	good, query := a.append(nil, nil), announcement{query: true, name: "room"}.append(nil, nil)
	tests := []struct {
		name string
		p    []byte
	}{
		{"empty", nil},
		{"a byte short", good[:255]},
		{"a byte too long", append(bytes.Clone(good), 0)},
		{"magic", with(good, 0, 'X')},
		{"version", with(good, 4, 2)},
		{"type 0", with(good, 5, 0)},
		{"type 3", with(good, 5, 3)},
		{"state 2", with(good, 6, 2)},
		{"reserved flag", with(good, 7, 2)},
		{"no session", with(good, 8, make([]byte, 8)...)},
		{"no port", with(good, 48, 0, 0)},
		{"reserved bytes", with(good, 51, 1)},
		{"a proof without a key", with(good, 56, 1)},
		{"name of 64 bytes", with(good, 72, 64)},
		{"name beyond the end", with(good, 72, 0xff, 0xff)},
		{"name that is not UTF-8", with(good, 74, 0xff)},
		{"title of 64 bytes", with(good, 78, 64)},
		{"fill", with(good, 255, 1)},
		{"a query with a state", with(query, 6, 1)},
		{"a query with a flag", with(query, 7, 1)},
		{"a query with a session", with(query, 8, 1)},
		{"a query with a fingerprint", with(query, 16, 1)},
		{"a query with a port", with(query, 48, 1)},
		{"a query with receivers", with(query, 52, 1)},
		{"a query with a proof", with(query, 56, 1)},
		{"a query with a title", with(query, 78, 1, 0, 'a')},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if a, err := parseAnnouncement(tt.p, nil); !errors.Is(err, errMalformed) {
				t.Errorf("parseAnnouncement(%x) = %+v, %v, want errMalformed", tt.p, a, err)
			}
		})
	}
}

// Who has a key takes only what is proved with it, whole as it was made.
func TestAnnouncementProof(t *testing.T) {
	key := keyOf("correct horse battery")
	a := testAnnouncement()
	good := a.append(nil, key)
	open := a
	open.keyed = false
	forged := map[string][]byte{
		"another key": a.append(nil, keyOf("wrong horse battery")),
		"none":        a.append(nil, nil),
		"not keyed":   open.append(nil, nil),
		"receivers":   with(good, 52, 21),
		"fingerprint": with(good, 16, 0),
		"name":        with(good, 74, 'b'),
		"proof":       with(good, 71, good[71]+1),
	}
	for name, p := range forged {
		if got, err := parseAnnouncement(p, key); !errors.Is(err, errProof) {
			t.Errorf("%s: %+v, %v, want errProof", name, got, err)
		}
	}
	if got, err := parseAnnouncement(good, nil); err != nil || got != a {
		t.Errorf("without a key: %+v, %v, want %+v", got, err, a)
	}
	query := announcement{query: true}
	if got, err := parseAnnouncement(query.append(nil, key), key); err != nil || got != query {
		t.Errorf("a query: %+v, %v, want %+v", got, err, query)
	}
}

// Names are cut to 63 bytes, between two characters.
func TestAnnouncementNames(t *testing.T) {
	a := testAnnouncement()
	a.name = "r\xff" + string(bytes.Repeat([]byte("ö"), 40))
	got, err := parseAnnouncement(a.append(nil, nil), nil)
	if want := "r" + string(bytes.Repeat([]byte("ö"), 31)); err != nil || got.name != want {
		t.Errorf("%q, %v, want %q", got.name, err, want)
	}
}

// FuzzAnnouncement: what is accepted with the key, or without one where none
// is needed, encodes to the same bytes.
func FuzzAnnouncement(f *testing.F) {
	key := keyOf("correct horse battery")
	a := testAnnouncement()
	f.Add(a.append(nil, key))
	f.Add(a.append(nil, nil))
	f.Add(announcement{query: true, name: "room"}.append(nil, nil))
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, key := range [][]byte{nil, key} {
			a, err := parseAnnouncement(p, key)
			if err != nil {
				if !errors.Is(err, errMalformed) && !errors.Is(err, errProof) {
					t.Errorf("%x: %v", p, err)
				}
				continue
			}
			want := p
			if key == nil { // the proof is not known then
				want = with(p, announcementProof, make([]byte, shortProofSize)...)
			}
			if again := a.append(nil, key); !bytes.Equal(again, want) {
				t.Errorf("%x parses to %+v, which encodes to %x", p, a, again)
			}
		}
	})
}
