package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// content returns n bytes that are different in each block.
func content(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1, byte(n)}).Read(p) // never fails
	return p
}

// sorts are combinations of options, with the size of a block.
var sorts = []struct {
	block   int
	options []string
}{
	{512, nil},
	{8, []string{"blksize", "8"}},
	{8, []string{"blksize", "8", "windowsize", "64"}},
	{1024, []string{"blksize", "1024", "tsize", "0"}},
	{1428, []string{"BLKSIZE", "1428", "WindowSize", "4"}},
	{512, []string{"windowsize", "3"}},
}

// TestSizes fetches files around the ends of blocks, of windows, and of the
// 16 bits that number them.
func TestSizes(t *testing.T) {
	for _, s := range sorts {
		t.Run(strings.Join(s.options, " "), func(t *testing.T) {
			b := s.block
			sizes := []int{0, 1, b - 1, b, b + 1, 4 * b, 64*b - 1, 64 * b, 65*b + 1}
			if b == 8 {
				sizes = append(sizes, 65534*b, 65535*b, 65536*b, 65537*b, 131072*b+5)
			}
			for _, size := range sizes {
				want := content(size)
				perform(t, map[string][]byte{"f": want}, func(p *play) {
					got, err := p.client(1, s.options...).fetch("f")
					if err != nil || !bytes.Equal(got, want) {
						t.Fatalf("%d bytes in blocks of %d: got %d bytes, error %v", size, b, len(got), err)
					}
					p.want(Stats{Started: 1, Done: 1})
				})
			}
		})
	}
}

// TestTrouble fetches a file through a network that loses, doubles and delays.
func TestTrouble(t *testing.T) {
	for seed := range uint64(20) {
		for _, s := range sorts {
			want := content(300 * s.block)
			perform(t, map[string][]byte{"f": want}, func(p *play) {
				rng := rand.New(rand.NewPCG(seed, 2))
				p.fate = func(datagram) []time.Duration {
					var copies []time.Duration
					for range 1 + rng.IntN(10)/9 {
						if rng.IntN(100) >= 4 {
							copies = append(copies, time.Duration(rng.IntN(3))*time.Millisecond)
						}
					}
					return copies
				}
				c := p.client(1, s.options...)
				got, err := c.fetch("f")
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("seed %d, %v: got %d of %d bytes, error %v", seed, s.options, len(got), len(want), err)
				}
				// One send for each acknowledgement, lost or not, and for each wait.
				most := (2*c.acks + c.acks) * c.window
				if n := len(p.answers()); n > most {
					t.Errorf("seed %d, %v: %d datagrams for %d acknowledgements of windows of %d", seed, s.options, n, c.acks, c.window)
				}
			})
		}
	}
}

// TestApprentice doubles every acknowledgement: no block may be sent twice
// (RFC 1123, section 4.2.3.1).
func TestApprentice(t *testing.T) {
	want := content(100 * 512)
	perform(t, map[string][]byte{"f": want}, func(p *play) {
		p.fate = func(d datagram) []time.Duration {
			if d.to.Addr() == serverAddr {
				return []time.Duration{time.Millisecond, 2 * time.Millisecond}
			}
			return []time.Duration{0}
		}
		if got, err := p.client(1).fetch("f"); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, error %v", len(got), err)
		}
		if got := len(p.answers()); got != 101 {
			t.Errorf("%d datagrams for 101 blocks, want 101", got)
		}
	})
}

// TestFirstOfWindowLost shows that a client which misses the first block of a
// window need not wait for a timeout, and that this happens once in a row.
func TestFirstOfWindowLost(t *testing.T) {
	want := content(400 * 512)
	perform(t, map[string][]byte{"f": want}, func(p *play) {
		data := 0
		p.fate = func(d datagram) []time.Duration {
			if d.from.Addr() == serverAddr && d.p[1] == byte(opData) {
				if data++; data%24 == 9 {
					return nil
				}
			}
			return []time.Duration{0}
		}
		began := time.Now()
		if got, err := p.client(1, "windowsize", "8").fetch("f"); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, error %v", len(got), err)
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v, want less than a second: no wait for a timeout", took)
		}
	})
}

func TestAnswers(t *testing.T) {
	tests := []struct {
		name    string
		request []byte
		want    string // the first answer; empty is none
		stats   Stats
	}{
		{"data", ask(opRead, "f", "octet"), "\x00\x03\x00\x01hello", Stats{Started: 1}},
		{"mode in capitals", ask(opRead, "/F/../f", "OCTET"), "\x00\x03\x00\x01hello", Stats{Started: 1}},
		{"all options", ask(opRead, "f", "octet", "tsize", "0", "blksize", "1468", "timeout", "3", "windowsize", "4"),
			"\x00\x06tsize\x005\x00blksize\x001468\x00timeout\x003\x00windowsize\x004\x00", Stats{Started: 1}},
		{"limits", ask(opRead, "f", "octet", "blksize", "65464", "windowsize", "65535"),
			"\x00\x06blksize\x001468\x00windowsize\x0064\x00", Stats{Started: 1}},
		{"the first of two", ask(opRead, "f", "octet", "blksize", "100", "blksize", "200"),
			"\x00\x06blksize\x00100\x00", Stats{Started: 1}},
		{"unknown and bad options", ask(opRead, "f", "octet", "multicast", "", "blksize", "7", "timeout", "0", "windowsize", "-1", "tsize", "x"),
			"\x00\x03\x00\x01hello", Stats{Started: 1}},
		{"half an option", ask(opRead, "f", "octet", "blksize"), "\x00\x03\x00\x01hello", Stats{Started: 1}},
		{"padding", append(ask(opRead, "f", "octet"), 0xff, 0xff), "\x00\x03\x00\x01hello", Stats{Started: 1}},
		{"missing", ask(opRead, "g", "octet"), "\x00\x05\x00\x01file not found\x00", Stats{Missing: 1}},
		{"write", ask(opWrite, "f", "octet"), "\x00\x05\x00\x02this server takes no files\x00", Stats{Refused: 1}},
		{"escape", ask(opRead, "../f", "octet"), "\x00\x05\x00\x02access violation\x00", Stats{Refused: 1}},
		{"text", ask(opRead, "f", "netascii"), "\x00\x05\x00\x02this server sends in octet mode only\x00", Stats{Refused: 1}},
		{"acknowledgement", ack(1), "", Stats{Malformed: 1}},
		{"error", []byte("\x00\x05\x00\x00x\x00"), "", Stats{Malformed: 1}},
		{"nothing", nil, "", Stats{Malformed: 1}},
		{"no mode", ask(opRead, "f"), "", Stats{Malformed: 1}},
		{"no name", ask(opRead, "", "octet"), "", Stats{Malformed: 1}},
		{"too long", ask(opRead, strings.Repeat("f", 513), "octet"), "", Stats{Malformed: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			perform(t, map[string][]byte{"f": []byte("hello")}, func(p *play) {
				p.request(netip.MustParseAddrPort("10.0.0.9:9"), tt.request)
				synctest.Wait()
				var got string
				if all := p.answers(); len(all) > 0 {
					got = string(all[0].p)
				}
				if got != tt.want {
					t.Errorf("answer %q, want %q", got, tt.want)
				}
				p.want(tt.stats)
			})
		})
	}
}

// TestImplausible shows that nobody is answered who cannot be a client.
func TestImplausible(t *testing.T) {
	for _, from := range []string{"10.0.0.9:0", "0.0.0.0:9", "255.255.255.255:9", "224.0.0.1:9", "[ff02::1]:9", "[::]:9"} {
		perform(t, map[string][]byte{"f": nil}, func(p *play) {
			p.request(netip.MustParseAddrPort(from), ask(opRead, "f", "octet"))
			p.want(Stats{Refused: 1})
			if got := len(p.answers()); got != 0 {
				t.Errorf("%s: %d answers, want none", from, got)
			}
		})
	}
}

// TestFilesFail shows what clients are told about errors.
func TestFilesFail(t *testing.T) {
	for _, tt := range []struct {
		err   error
		want  string
		stats Stats
	}{
		{ErrRefused, "\x00\x05\x00\x02access violation\x00", Stats{Refused: 1}},
		{errors.New("secret"), "\x00\x05\x00\x00the server has trouble with this file\x00", Stats{Failed: 1}},
	} {
		perform(t, nil, func(p *play) {
			p.server.Files = func(context.Context, Request) (File, error) { return File{}, tt.err }
			_, err := p.client(1).fetch("f")
			if want := fmt.Sprintf("answer %q", tt.want); err == nil || err.Error() != want {
				t.Errorf("Files = %v: client got %v, want %s", tt.err, err, want)
			}
			p.want(tt.stats)
		})
	}
}

// A shortFile ends before it should, and says when it is closed.
type shortFile struct {
	io.ReaderAt
	closed *bool
}

func (f shortFile) Close() error { *f.closed = true; return nil }

func TestReadFails(t *testing.T) {
	closed := false
	perform(t, nil, func(p *play) {
		p.server.Files = func(context.Context, Request) (File, error) {
			f := shortFile{bytes.NewReader(content(1000)), &closed}
			return File{ReaderAt: f, Size: 5000, Closer: f}, nil
		}
		_, err := p.client(1).fetch("f")
		if want := `answer "\x00\x05\x00\x00the server has trouble with this file\x00"`; err == nil || err.Error() != want {
			t.Errorf("client got %v, want %s", err, want)
		}
		p.want(Stats{Started: 1, Failed: 1})
	})
	if !closed {
		t.Error("the file was not closed")
	}
}

// TestProbe asks for the size alone, as firmware does before it fetches a file,
// and then fetches from the same port.
func TestProbe(t *testing.T) {
	perform(t, map[string][]byte{"f": content(3000)}, func(p *play) {
		c := p.client(1, "tsize", "0", "blksize", "1468", "windowsize", "4")
		p.request(c.at, ask(opRead, "f", "octet", "tsize", "0"))
		got, err := c.next()
		if want := "\x00\x06tsize\x003000\x00"; err != nil || string(got) != want {
			t.Fatalf("answer %q, error %v, want %q", got, err, want)
		}
		p.bring(datagram{c.at, c.peer, appendError(nil, 8, "User aborted the transfer")})
		p.want(Stats{Started: 1, Probes: 1})
		c.peer = netip.AddrPort{}
		if got, err := c.fetch("f"); err != nil || len(got) != 3000 {
			t.Errorf("got %d bytes, error %v", len(got), err)
		}
		p.want(Stats{Started: 2, Probes: 1, Done: 1})
	})
}

func TestClientGivesUp(t *testing.T) {
	perform(t, map[string][]byte{"f": content(3000)}, func(p *play) {
		c := p.client(1)
		p.request(c.at, ask(opRead, "f", "octet"))
		if _, err := c.next(); err != nil {
			t.Fatal(err)
		}
		p.bring(datagram{c.at, c.peer, appendError(nil, 3, "disk full")})
		p.want(Stats{Started: 1, Failed: 1})
	})
}

// TestSilence shows how often and when a client is sent what it does not
// acknowledge: few times if it was never heard of.
func TestSilence(t *testing.T) {
	second := time.Second
	tests := []struct {
		name  string
		heard bool
		words []string
		want  []time.Duration // of the sends, after the first
		over  time.Duration
	}{
		{"never heard of", false, nil, []time.Duration{second, 3 * second, 7 * second}, 12 * second},
		{"never heard of, with options", false, []string{"blksize", "100"}, []time.Duration{second, 3 * second, 7 * second}, 12 * second},
		{"timeout", false, []string{"timeout", "2"}, []time.Duration{2 * second, 4 * second, 6 * second}, 8 * second},
		{"long timeout", false, []string{"timeout", "255"}, nil, idleLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			perform(t, map[string][]byte{"f": content(3000)}, func(p *play) {
				began := time.Now()
				var sends []time.Duration
				p.fate = func(datagram) []time.Duration {
					sends = append(sends, time.Since(began))
					return nil
				}
				p.request(netip.MustParseAddrPort("10.0.0.9:9"), ask(opRead, append([]string{"f", "octet"}, tt.words...)...))
				time.Sleep(tt.over - time.Millisecond)
				p.want(Stats{Started: 1})
				time.Sleep(2 * time.Millisecond)
				p.want(Stats{Started: 1, Failed: 1})
				if got, want := fmt.Sprint(sends), fmt.Sprint(append([]time.Duration{0}, tt.want...)); got != want {
					t.Errorf("sent at %s, want %s", got, want)
				}
			})
		})
	}
}

// TestIdle shows the same of a client that stops in the middle.
func TestIdle(t *testing.T) {
	perform(t, map[string][]byte{"f": content(3000)}, func(p *play) {
		c := p.client(1)
		p.request(c.at, ask(opRead, "f", "octet"))
		if _, err := c.next(); err != nil {
			t.Fatal(err)
		}
		c.ack(1)
		time.Sleep(idleLimit)
		p.want(Stats{Started: 1, Failed: 1})
		if got := len(p.answers()); got != 1+maxSends {
			t.Errorf("%d datagrams, want %d", got, 1+maxSends)
		}
	})
}

// TestSlow has a client that acknowledges one block every three seconds.
func TestSlow(t *testing.T) {
	perform(t, map[string][]byte{"f": content(1 << 20)}, func(p *play) {
		p.server.MaxDuration = time.Minute
		c := p.client(1)
		p.request(c.at, ask(opRead, "f", "octet"))
		for block := 1; block < 30; block++ {
			if _, err := c.next(); err != nil && p.server.Stats().Active == 1 {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second)
			c.ack(block)
			for len(c.queue) > 0 {
				<-c.queue
			}
		}
		p.want(Stats{Started: 1, Failed: 1})
	})
}

// TestStranger shows that a stranger's datagrams do not disturb a transfer, and
// that the stranger is told so, but for errors.
func TestStranger(t *testing.T) {
	want := content(512 * 20)
	perform(t, map[string][]byte{"f": want}, func(p *play) {
		c, other := p.client(1), p.client(2)
		p.fate = func(d datagram) []time.Duration {
			if d.from == c.at && d.p[1] == byte(opAck) {
				for _, forged := range [][]byte{ack(uint16(d.p[3]) + 1), appendError(nil, 0, "stop"), {1}} {
					p.ears[d.to].queue <- datagram{other.at, d.to, forged}
				}
			}
			return []time.Duration{time.Millisecond}
		}
		if got, err := c.fetch("f"); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %d bytes, error %v", len(got), err)
		}
		time.Sleep(time.Second)
		p.want(Stats{Started: 1, Done: 1, Strangers: 3 * 21})
		told := 0
		for _, d := range p.answers() {
			if d.to == other.at {
				if told++; string(d.p) != "\x00\x05\x00\x05unknown transfer\x00" {
					t.Errorf("a stranger is told %q", d.p)
				}
			}
		}
		if told == 0 || told > maxStrangers {
			t.Errorf("strangers are told %d times, want 1 to %d", told, maxStrangers)
		}
	})
}

// TestAgain sends the same request several times, and then another one from
// the same port.
func TestAgain(t *testing.T) {
	perform(t, map[string][]byte{"f": content(600), "g": content(700)}, func(p *play) {
		c := p.client(1)
		for range 5 {
			p.request(c.at, ask(opRead, "f", "octet"))
		}
		p.want(Stats{Started: 1})
		if got := len(c.queue); got != 1 {
			t.Errorf("%d answers to five equal requests, want 1", got)
		}
		<-c.queue
		if got, err := c.fetch("g"); err != nil || !bytes.Equal(got, content(700)) {
			t.Errorf("got %d bytes, error %v", len(got), err)
		}
		p.want(Stats{Started: 2, Failed: 1, Done: 1})
	})
}

// TestRoom shows the limits of transfers, and that room is made at their end.
func TestRoom(t *testing.T) {
	perform(t, map[string][]byte{"f": content(600)}, func(p *play) {
		p.server.MaxTransfers, p.server.MaxPerClient = 5, 2
		for i := range 10 {
			p.request(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(9 + i/4)}), uint16(1000+i)), ask(opRead, "f", "octet"))
		}
		p.want(Stats{Started: 5, Refused: 5})
		time.Sleep(idleLimit)
		p.want(Stats{Started: 5, Refused: 5, Failed: 5})
		if _, err := p.client(1).fetch("f"); err != nil {
			t.Error(err)
		}
	})
}

// TestReflection asks a thousand times a second in the name of another.
func TestReflection(t *testing.T) {
	perform(t, map[string][]byte{"f": content(600)}, func(p *play) {
		for i := range 10_000 {
			p.request(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 9}), uint16(1000+i)), ask(opRead, "no"+strconv.Itoa(i%2), "octet"))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		got, most := len(p.answers()), fullPurse+int(10*time.Second/coinEvery)
		if got > most+1 || got < most-1 {
			t.Errorf("%d answers in ten seconds, want %d", got, most)
		}
	})
}

// TestMany has 60 clients at once.
func TestMany(t *testing.T) {
	want := content(100_000)
	perform(t, map[string][]byte{"f": want}, func(p *play) {
		var clients sync.WaitGroup
		for i := range 60 {
			c := p.client(i, "windowsize", "4")
			clients.Go(func() {
				if got, err := c.fetch("f"); err != nil || !bytes.Equal(got, want) {
					t.Errorf("client %d: got %d bytes, error %v", i, len(got), err)
				}
			})
		}
		clients.Wait()
		p.want(Stats{Started: 60, Done: 60})
		if got := p.server.Stats().Bytes; got != 60*100_000 {
			t.Errorf("Bytes = %d, want %d", got, 60*100_000)
		}
	})
}

// TestStop stops a server with transfers that wait.
func TestStop(t *testing.T) {
	perform(t, map[string][]byte{"f": content(600)}, func(p *play) {
		for i := range 3 {
			p.request(p.client(i).at, ask(opRead, "f", "octet"))
		}
		p.want(Stats{Started: 3})
	})
}
