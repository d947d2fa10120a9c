package multicast

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// numberInText is the session that most vectors are of.
const numberInText = 0x1122334455667788

// vectorText returns the text of the vector in docs/protocol.md that begins
// like that: its line, and the next line or the block behind it.
func vectorText(t testing.TB, begin string) (line, rest string) {
	t.Helper()
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(doc), "\nVector: "+begin)
	if !found {
		t.Fatalf("docs/protocol.md has no vector %q", begin)
	}
	line, rest, _ = strings.Cut(text, "\n")
	return line, rest
}

// vector returns the bytes of a vector: those in the block that follows, or in
// the backquotes that begin the next line, or in the last ones of its own.
func vector(t testing.TB, begin string) []byte {
	t.Helper()
	line, rest := vectorText(t, begin)
	quotes := regexp.MustCompile("`([0-9a-f ]+)`").FindAllStringSubmatch(line, -1)
	digits := ""
	if block, ok := strings.CutPrefix(rest, "\n```\n"); ok {
		digits, _, _ = strings.Cut(block, "```")
	} else if next, ok := strings.CutPrefix(rest, "`"); ok {
		digits, _, _ = strings.Cut(next, "`")
	} else if len(quotes) > 0 {
		digits = quotes[len(quotes)-1][1]
	}
	return fromHex(t, digits)
}

func fromHex(t testing.TB, digits string) []byte {
	t.Helper()
	p, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil || len(p) == 0 {
		t.Fatalf("the hex %q: %v", digits, err)
	}
	return p
}

func sameBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}

// The vectors of docs/protocol.md are what the code writes, and it reads them.
func TestVectors(t *testing.T) {
	t.Run("cut", vectorCut)
	t.Run("parity", vectorParity)
	t.Run("datagram", vectorDatagram)
	t.Run("key", vectorKey)
	t.Run("runs", vectorRuns)
	t.Run("report", vectorReport)
	t.Run("announcement", vectorAnnouncement)
	t.Run("query", vectorQuery)
	for begin, m := range vectorMessages() {
		t.Run(begin, func(t *testing.T) { vectorMessage(t, begin, m) })
	}
}

// Every vector in the text is one that TestVectors looks at.
func TestVectorsAll(t *testing.T) {
	doc, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	const known, images = 9, 1 // those of section 12 are for package main
	if n, want := strings.Count(string(doc), "\nVector: "), known+images+len(vectorMessages()); n != want {
		t.Errorf("docs/protocol.md has %d vectors, TestVectors knows %d", n, want)
	}
}

func vectorCut(t *testing.T) {
	c := newCut(2000000, 1440)
	if c.symbols != 1389 || c.blocks != 8 {
		t.Errorf("%d symbols in %d blocks, want 1389 in 8", c.symbols, c.blocks)
	}
	var got []byte
	for i := range c.blocks {
		got = append(got, byte(c.source(i)))
	}
	sameBytes(t, "symbols of the blocks", got, vector(t, "L = 2000000, S = 1440"))
}

func vectorParity(t *testing.T) {
	want := vector(t, "the block of two source symbols")
	c := newCoder(256)
	p, err := c.parity(bytes.Join([][]byte{bytes.Repeat([]byte{1}, 256), bytes.Repeat([]byte{2}, 256)}, nil), 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range want {
		sameBytes(t, "parity symbol", p[i*c.stride():][:256], bytes.Repeat([]byte{b}, 256))
	}
}

func vectorDatagram(t *testing.T) {
	want := vector(t, "DATA, block 2, symbol 5")
	h := header{kind: kindData, block: 2, symbol: 5, sequence: 7, frame: 812, tag: numberInText & 0xffff}
	p := append(h.append(nil), bytes.Repeat([]byte("a"), 256)...)
	p = append(p, make([]byte, sealSize)...)
	s := newSealer(bytes.Repeat([]byte{0x2a}, secretSize), numberInText, 0, 0)
	s.seal(p)
	sameBytes(t, "sealed", bytes.Join([][]byte{p[:32], p[16+256:]}, nil), want)
	if got, err := parseHeader(want); err != nil || got != h {
		t.Errorf("parsed: %+v, %v, want %+v", got, err, h)
	}
	payload, err := s.open(p)
	if err != nil {
		t.Fatal(err)
	}
	sameBytes(t, "opened", payload, bytes.Repeat([]byte("a"), 256))
}

func vectorKey(t *testing.T) {
	n := keyOf("correct horse battery")
	sameBytes(t, "N", n, vector(t, "N of the key"))
	proof := vector(t, "with that key, and E of 32 bytes")
	exported := bytes.Repeat([]byte{7}, 32)
	sameBytes(t, "proof", prove(n, proofOfReceiver, exported), proof)
	if !checkProof(n, proofOfReceiver, exported, proof) {
		t.Error("the proof is refused")
	}
}

func vectorRuns(t *testing.T) {
	want := vector(t, "the runs of 3, 4, 5, 9")
	s := newFrameSet(10)
	if err := parseRuns(want, s); err != nil {
		t.Fatal(err)
	}
	if got := members(s); !reflect.DeepEqual(got, []uint32{3, 4, 5, 9}) {
		t.Errorf("parsed: %d", got)
	}
	sameBytes(t, "of a set", appendRuns(nil, s), want)
	sameBytes(t, "of a list", appendListRuns(nil, members(s)), want)
}

func vectorReport(t *testing.T) {
	body := vector(t, "lane 0, not full, head 1000")
	want := report{
		head: 1000, received: 990, written: 65536, done: []uint32{3, 4, 5},
		open: []openFrame{{7, []uint8{0, 2}}, {9, []uint8{1, 0}}},
	}
	sameBytes(t, "encoded", want.append(nil), body)
	var got report
	if err := got.parse(body, twoBlocks); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("parsed: %+v, %v, want %+v", got, err, want)
	}
}

// twoBlocks says that the session has 100 frames of two blocks each.
func twoBlocks(frame uint32) int {
	if frame < 100 {
		return 2
	}
	return 0
}

// vectorMessages returns the messages in the text by how their vectors begin.
func vectorMessages() map[string]message {
	return map[string]message{
		"JOIN of lane 1":    join{lane: 1, group: netip.MustParseAddrPort("239.255.16.1:7781")},
		"PULSE of a sender": pulse{phase: phaseSending, interval: 20 * time.Millisecond, sent: 1000, receivers: 20, ready: 19, rate: 980e6},
		"HELLO for any":     hello{proof: []byte{}, id: "aa", name: "pc7", target: "/dev/sda", speed: 1000, buffer: 4096},
		"OFFER of session": offer{
			session: numberInText, proof: []byte{}, name: "room", host: "srv", title: "lab", digest: []byte{0xd1, 0xd2},
			secret:     [secretSize]byte(bytes.Repeat([]byte{0x2a}, secretSize)),
			token:      [tokenSize]byte(bytes.Repeat([]byte{0x2b}, tokenSize)),
			symbolSize: 1440, preface: 1000,
			prefaceDigest: [digestSize]byte(bytes.Repeat([]byte{0x2c}, digestSize)),
			frames:        9, bytes: 90000,
		},
		"ANNEX of 2 frames": annex{frames: 2, bytes: 1000, about: []byte{0xa1, 0xa2}},
	}
}

func vectorMessage(t *testing.T, begin string, m message) {
	want := vector(t, begin)
	sameBytes(t, "encoded", appendMessage(nil, m), want)
	from, _ := m.messageType().from()
	if got, err := readMessage(bytes.NewReader(want), from); err != nil || !reflect.DeepEqual(got, m) {
		t.Errorf("read: %+v, %v, want %+v", got, err, m)
	}
}

func vectorAnnouncement(t *testing.T) {
	want := vector(t, "with the key of section 4, the announcement")
	want = append(want, make([]byte, 173)...)
	a := testAnnouncement()
	key := keyOf("correct horse battery")
	sameBytes(t, "encoded", a.append(nil, key), want)
	if got, err := parseAnnouncement(want, key); err != nil || got != a {
		t.Errorf("parsed: %+v, %v, want %+v", got, err, a)
	}
}

func testAnnouncement() announcement {
	return announcement{
		sending: true, keyed: true, session: numberInText, port: 7780, receivers: 20, name: "room", title: "lab",
		fingerprint: [digestSize]byte(bytes.Repeat([]byte{0x2d}, digestSize)),
	}
}

// The query is written in four pieces, with the zeros in words.
func vectorQuery(t *testing.T) {
	line, _ := vectorText(t, `a query for "room" is`)
	parts := regexp.MustCompile("^ `([0-9a-f]+)` and `00` 66 times, `([0-9a-f]+)`, and `00` 178 times").FindStringSubmatch(line)
	if parts == nil {
		t.Fatalf("not the form that the test knows: %q", line)
	}
	want := append(fromHex(t, parts[1]), make([]byte, 66)...)
	want = append(append(want, fromHex(t, parts[2])...), make([]byte, 178)...)
	a := announcement{query: true, name: "room"}
	sameBytes(t, "encoded", a.append(nil, nil), want)
	if got, err := parseAnnouncement(want, nil); err != nil || got != a {
		t.Errorf("parsed: %+v, %v, want %+v", got, err, a)
	}
}
