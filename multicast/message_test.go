package multicast

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// someMessages returns one or more of each type but REPORT.
func someMessages() []message {
	lacking := newFrameSet(1000)
	lacking.addRange(3, 700)
	sent := []message{
		newNeed(lacking), newNeed(newFrameSet(0)),
		mode{fetches: true, why: "no multicast"}, mode{},
		done{name: []byte("digest")}, done{name: []byte{}},
		failed{why: "disk full"}, fetch{why: "behind"}, dropped{why: "böse"}, closing{},
		join{lane: 2, leave: true},
		join{lane: 255, group: netip.MustParseAddrPort("[ff12::8000:1]:65535")},
		pulse{phase: phaseIdle, interval: time.Second, sent: math.MaxUint64},
		hello{session: 1, proof: bytes.Repeat([]byte{1}, proofSize), id: "x", speed: math.MaxUint32},
		offer{session: 1, proof: bytes.Repeat([]byte{1}, proofSize), digest: []byte{}, symbolSize: 8192},
		annex{frames: 1, bytes: maxFrame, about: []byte{}},
		annex{frames: math.MaxUint32, bytes: math.MaxUint32, about: bytes.Repeat([]byte{1}, maxAbout)},
	}
	for _, m := range vectorMessages() {
		sent = append(sent, m)
	}
	return sent
}

// Messages are read as they were sent, however the bytes come, and the end of
// the connection is told.
func TestMessages(t *testing.T) {
	for _, m := range someMessages() {
		from, _ := m.messageType().from()
		r := iotest.OneByteReader(bytes.NewReader(appendMessage(nil, m)))
		got, err := readMessage(r, from)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("read %#v, %v, want %#v", got, err, m)
		}
		if m, err := readMessage(r, from); err != io.EOF {
			t.Errorf("at the end: %v, %v, want io.EOF", m, err)
		}
	}
}

// A report comes as it was sent, for the session to parse.
func TestMessageReport(t *testing.T) {
	want := bigReport()
	m, err := readMessage(bytes.NewReader(appendMessage(nil, want)), fromReceiver)
	raw, ok := m.(rawReport)
	if err != nil || !ok {
		t.Fatalf("read %T, %v, want a rawReport", m, err)
	}
	var got report
	if err := got.parse(raw, twoBlocks); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("parsed %+v, %v, want %+v", got, err, want)
	}
}

// rawMessage is a message of any type with any body.
func rawMessage(t byte, body string) []byte {
	p := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	return append(append(p, t, 0, 0, 0), body...)
}

// What a later version may send is skipped.
func TestMessageSkips(t *testing.T) {
	p := append(rawMessage(129, strings.Repeat("x", maxBody)), rawMessage(255, "")...)
	p = appendMessage(p, failed{why: "y"})
	if m, err := readMessage(bytes.NewReader(p), fromReceiver); err != nil || m != (failed{why: "y"}) {
		t.Errorf("read %#v, %v, want the third one", m, err)
	}
}

func TestReadMessageRefuses(t *testing.T) {
	zeros := func(n int) string { return strings.Repeat("\x00", n) }
	noVersion := appendMessage(nil, hello{id: "x"})[10:]
	group := "\x61\x1e" + zeros(10) + "\xff\xff\xef\xff\x01\x01"
	tests := []struct {
		name string
		from end
		p    []byte
	}{
		{"type 0", fromReceiver, rawMessage(0, "")},
		{"unknown type below 128", fromReceiver, rawMessage(7, "")},
		{"unknown type below 128", fromSender, rawMessage(127, "")},
		{"reserved bytes", fromSender, []byte("\x00\x00\x00\x00\x45\x00\x00\x01")},
		{"body of more than 64 KiB", fromReceiver, rawMessage(6, strings.Repeat("x", maxBody+1))},
		{"unknown body of more than 64 KiB", fromReceiver, rawMessage(200, strings.Repeat("x", maxBody+1))},
		{"NEED of more than 16 MiB", fromReceiver, []byte("\x01\x00\x00\x01\x02\x00\x00\x00")},
		{"OFFER by a receiver", fromReceiver, appendMessage(nil, offer{session: 1, symbolSize: 256})},
		{"HELLO by a sender", fromSender, appendMessage(nil, hello{id: "x"})},
		{"HELLO of version 2", fromReceiver, rawMessage(1, "\x02\x00"+string(noVersion))},
		{"HELLO with half a proof", fromReceiver, appendMessage(nil, hello{id: "x", proof: make([]byte, 16)})},
		{"HELLO without an id", fromReceiver, appendMessage(nil, hello{name: "x"})},
		{"HELLO that goes on", fromReceiver, rawMessage(1, "\x01\x00"+string(noVersion)+"\x00")},
		{"HELLO that ends early", fromReceiver, rawMessage(1, "\x01\x00"+string(noVersion[:20]))},
		{"NEED without numbers", fromReceiver, rawMessage(2, zeros(7))},
		{"MODE 2", fromReceiver, rawMessage(4, "\x02\x00\x00")},
		{"why that is not UTF-8", fromReceiver, rawMessage(6, "\x01\x00\xff")},
		{"why of 1025 bytes", fromReceiver, rawMessage(6, "\x01\x04"+strings.Repeat("x", 1025))},
		{"name of the content of 65 bytes", fromReceiver, rawMessage(5, "\x41\x00"+zeros(65))},
		{"OFFER without a session", fromSender, appendMessage(nil, offer{symbolSize: 256})},
		{"OFFER of odd symbols", fromSender, appendMessage(nil, offer{session: 1, symbolSize: 257})},
		{"OFFER of too many frames", fromSender, appendMessage(nil, offer{session: 1, symbolSize: 256, preface: 1, frames: math.MaxUint32, bytes: math.MaxUint32})},
		{"OFFER of frames of nothing", fromSender, appendMessage(nil, offer{session: 1, symbolSize: 256, frames: 2, bytes: 1})},
		{"OFFER of too large frames", fromSender, appendMessage(nil, offer{session: 1, symbolSize: 256, frames: 2, bytes: 34<<20 + 1})},
		{"OFFER with a short secret", fromSender, rawMessage(64, "\x01\x00\x01"+zeros(7)+zeros(5*2)+"\x1f\x00"+zeros(200))},
		{"JOIN 2", fromSender, rawMessage(65, "\x00\x02"+group)},
		{"JOIN that leaves and joins", fromSender, rawMessage(65, "\x00\x01"+group)},
		{"JOIN without a port", fromSender, rawMessage(65, "\x00\x00\x00\x00"+group[2:])},
		{"JOIN of one machine", fromSender, rawMessage(65, "\x00\x00"+group[:14]+"\x0a\x00\x00\x01")},
		{"JOIN that ends early", fromSender, rawMessage(65, "\x00\x00"+group[:17])},
		{"PULSE with state 3", fromSender, appendMessage(nil, pulse{phase: 3, interval: time.Second})},
		{"PULSE with an interval of 19 ms", fromSender, appendMessage(nil, pulse{interval: 19 * time.Millisecond})},
		{"PULSE with an interval of 1.1 s", fromSender, appendMessage(nil, pulse{interval: 1100 * time.Millisecond})},
		{"CLOSE with a body", fromSender, rawMessage(69, "\x00")},
		{"ANNEX by a receiver", fromReceiver, appendMessage(nil, annex{frames: 1, bytes: 1})},
		{"ANNEX without frames", fromSender, appendMessage(nil, annex{about: []byte("x")})},
		{"ANNEX of frames of nothing", fromSender, appendMessage(nil, annex{frames: 2, bytes: 1})},
		{"ANNEX of too large frames", fromSender, appendMessage(nil, annex{frames: 2, bytes: 34<<20 + 1})},
		{"ANNEX that ends early", fromSender, rawMessage(128, zeros(11))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if m, err := readMessage(bytes.NewReader(tt.p), tt.from); !errors.Is(err, errMalformed) {
				t.Errorf("readMessage = %#v, %v, want errMalformed", m, err)
			}
		})
	}
}

// A connection that ends within a message is told from one that ends between
// two, wherever it ends.
func TestReadMessageCutOff(t *testing.T) {
	for _, p := range [][]byte{appendMessage(nil, failed{why: "disk full"}), rawMessage(200, "later")} {
		for n := 1; n < len(p); n++ {
			if m, err := readMessage(bytes.NewReader(p[:n]), fromReceiver); err != io.ErrUnexpectedEOF {
				t.Errorf("%d of %d bytes: %#v, %v, want io.ErrUnexpectedEOF", n, len(p), m, err)
			}
		}
	}
}

// A length costs no memory until the body comes.
func TestReadMessageMemory(t *testing.T) {
	p := []byte("\x00\x00\x00\x01\x02\x00\x00\x00" + "a few bytes")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readMessage(bytes.NewReader(p), fromReceiver)
	runtime.ReadMemStats(&after)
	if err != io.ErrUnexpectedEOF {
		t.Errorf("got %v, want io.ErrUnexpectedEOF", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("NEED of 16 MiB, of which 11 bytes come, takes %d bytes of memory, want at most 1 MiB", n)
	}
}

// Strings are cut to what the other end takes.
func TestMessageLongStrings(t *testing.T) {
	long := failed{why: strings.Repeat("ö", 1000)}
	m, err := readMessage(bytes.NewReader(appendMessage(nil, long)), fromReceiver)
	if want := (failed{why: strings.Repeat("ö", 512)}); err != nil || m != want {
		t.Errorf("read %v, %v, want %v", m, err, want)
	}
}

func TestNeedRefuses(t *testing.T) {
	s := newFrameSet(100)
	s.addRange(2, 5)
	good := newNeed(s)
	if got, err := good.set(100, 2, 0); err != nil || !reflect.DeepEqual(got, s) {
		t.Fatalf("set() = %v, %v, want %v", got, err, s)
	}
	tests := []struct {
		name           string
		m              need
		frames, pieces int
		annex          int
	}{
		{"another session", good, 99, 2, 0},
		{"pieces of the preface", good, 100, 3, 0},
		{"another count", need{100, 4, good.runs}, 100, 2, 0},
		{"beyond the last frame", need{4, 3, good.runs}, 4, 2, 0},
		{"no runs", need{100, 0, nil}, 100, 2, 0},
		{"without a part of the annex", need{99, 3, good.runs}, 100, 2, 50},
		{"the annex, though it is left out", need{4, 3, good.runs}, 100, 2, 96},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tt.m.set(tt.frames, tt.pieces, tt.annex); !errors.Is(err, errMalformed) {
				t.Errorf("set(%d, %d) = %v, %v, want errMalformed", tt.frames, tt.pieces, got, err)
			}
		})
	}
}

// FuzzMessage: what is accepted from either end encodes to the same bytes.
func FuzzMessage(f *testing.F) {
	for _, m := range append(someMessages(), bigReport()) {
		from, _ := m.messageType().from()
		f.Add(uint8(from), appendMessage(nil, m))
	}
	f.Add(uint8(fromSender), append(rawMessage(200, "x"), rawMessage(69, "")...))
	f.Fuzz(func(t *testing.T, from uint8, p []byte) {
		r := bytes.NewReader(p)
		m, err := readMessage(r, end(from%2))
		if err != nil {
			if !errors.Is(err, errMalformed) && err != io.EOF && err != io.ErrUnexpectedEOF {
				t.Errorf("%x: %v", p, err)
			}
			return
		}
		read := p[:len(p)-r.Len()]
		if again := appendMessage(nil, m); !bytes.HasSuffix(read, again) || !onlySkipped(read[:len(read)-len(again)]) {
			t.Errorf("%x is read as %#v, which encodes to %x", read, m, again)
		}
	})
}

// onlySkipped reports whether p is messages that are skipped.
func onlySkipped(p []byte) bool {
	for len(p) >= messageHeaderSize && p[4] >= 128 {
		p = p[messageHeaderSize+int(binary.LittleEndian.Uint32(p)):]
	}
	return len(p) == 0
}
