package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"golang.org/x/sys/unix"

	"slipcast/agent/wire"
)

func TestParseTicket(t *testing.T) {
	good := wire.Ticket{Schema: 1, Servers: []string{"https://192.0.2.1:8443", "https://[2001:db8::1]"}, Pin: strings.Repeat("0a", 32), MAC: "00:00:5e:00:53:01"}
	p, _ := json.Marshal(good)
	if _, err := ParseTicket(p); err != nil {
		t.Errorf("ParseTicket = %v", err)
	}
	for name, change := range map[string]func(*wire.Ticket){
		"schema":     func(t *wire.Ticket) { t.Schema = 2 },
		"no server":  func(t *wire.Ticket) { t.Servers = nil },
		"plain http": func(t *wire.Ticket) { t.Servers[0] = "http://192.0.2.1" },
		"a name":     func(t *wire.Ticket) { t.Servers[0] = "https://server:8443" },
		"a path":     func(t *wire.Ticket) { t.Servers[0] = "https://192.0.2.1/x" },
		"port 0":     func(t *wire.Ticket) { t.Servers[0] = "https://192.0.2.1:0" },
		"short pin":  func(t *wire.Ticket) { t.Pin = "00" },
		"no pin":     func(t *wire.Ticket) { t.Pin = "" },
		"MAC":        func(t *wire.Ticket) { t.MAC = "x" },
	} {
		bad := good
		bad.Servers = slices.Clone(good.Servers)
		change(&bad)
		p, _ := json.Marshal(bad)
		if _, err := ParseTicket(p); err == nil {
			t.Errorf("%s: ParseTicket(%s) is no error", name, p)
		}
	}
}

// A ticket that is taken has servers that can be dialled and a pin.
func FuzzParseTicket(f *testing.F) {
	f.Add([]byte(`{"schema":1,"servers":["https://192.0.2.1:8443"],"pin":"` + strings.Repeat("0a", 32) + `"}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		ticket, err := ParseTicket(p)
		if err != nil {
			return
		}
		for _, s := range ticket.Servers {
			if a, err := serverAddr(s); err != nil || !a.IsValid() || a.Port() == 0 {
				t.Errorf("server %q of a good ticket: %v, %v", s, a, err)
			}
		}
		if _, err := newClient(ticket); err != nil {
			t.Errorf("newClient: %v", err)
		}
	})
}

func TestParseRecord(t *testing.T) {
	got, ok := parseRecord("6,339,5140900,-;NET: Registered \x1b[1m\n SUBSYSTEM=x\n")
	if want := "[     5.140900] NET: Registered ?[1m"; !ok || got != want {
		t.Errorf("parseRecord = %q, %v; want %q", got, ok, want)
	}
	for _, s := range []string{"", "text", "6;x", "6,1,x,-;x", "6,1,-1,-;x"} {
		if got, ok := parseRecord(s); ok {
			t.Errorf("parseRecord(%q) = %q, want none", s, got)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("6,339,5140900,-;text\n A=b")
	f.Fuzz(func(t *testing.T, s string) {
		line, ok := parseRecord(s)
		if ok && (len(line) > 1024 || strings.ContainsAny(line, "\n\x1b\x00")) {
			t.Errorf("parseRecord(%q) = %q", s, line)
		}
	})
}

func TestKernelNotes(t *testing.T) {
	got := kernelNotes([]string{
		"[1] r8169 0000:01:00.0: Direct firmware load for rtl_nic/rtl8168g-2.fw failed with error -2",
		"[2] r8169: firmware: failed to load rtl_nic/rtl8168g-2.fw (-2)", "[3] usb 1-1: new device",
	})
	if want := []string{"firmware is missing: rtl_nic/rtl8168g-2.fw"}; !slices.Equal(got, want) {
		t.Errorf("kernelNotes = %q, want %q", got, want)
	}
}

// acknowledge returns an answer of a DHCP server.
func acknowledge(t *testing.T, modifiers ...dhcpv4.Modifier) *nclient4.Lease {
	t.Helper()
	ack, err := dhcpv4.New(append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 5)),
		dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(3600),
	}, modifiers...)...)
	if err != nil {
		t.Fatal(err)
	}
	return &nclient4.Lease{ACK: ack}
}

func TestReadLease(t *testing.T) {
	tests := []struct {
		name   string
		modify dhcpv4.Modifier
		want   string // prefix, router, renewal
	}{
		{"router", dhcpv4.WithRouter(net.IPv4(192, 0, 2, 1)), "192.0.2.5/24 192.0.2.1 30m0s"},
		{"router elsewhere", dhcpv4.WithRouter(net.IPv4(198, 51, 100, 1)), "192.0.2.5/24 invalid IP 30m0s"},
		{"lease of a second", dhcpv4.WithLeaseTime(1), "192.0.2.5/24 invalid IP 10s"},
		{"no address", dhcpv4.WithYourIP(net.IPv4zero), "DHCP: 0.0.0.0 is no address for a machine"},
		{"multicast", dhcpv4.WithYourIP(net.IPv4(224, 0, 0, 1)), "DHCP: 224.0.0.1 is no address for a machine"},
		{"odd mask", dhcpv4.WithNetmask(net.IPMask{255, 0, 255, 0}), "DHCP: ff00ff00 is no network mask"},
	}
	for _, tt := range tests {
		l, err := readLease(acknowledge(t, tt.modify))
		got := fmt.Sprint(l.Prefix, " ", l.Router, " ", l.Renew)
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	if _, err := readLease(nil); err == nil {
		t.Error("no answer is a lease")
	}
}

// Whatever a DHCP server answers, a lease is an address in a network and is
// renewed now and then.
func FuzzReadLease(f *testing.F) {
	ack, _ := dhcpv4.New(dhcpv4.WithYourIP(net.IPv4(192, 0, 2, 5)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)))
	f.Add(ack.ToBytes())
	f.Fuzz(func(t *testing.T, p []byte) {
		ack, err := dhcpv4.FromBytes(p)
		if err != nil {
			return
		}
		l, err := readLease(&nclient4.Lease{ACK: ack})
		if err == nil && (!l.Prefix.IsValid() || !l.Prefix.Addr().Is4() || l.Prefix.Bits() == 0 || l.Renew < minLease/2) {
			t.Errorf("lease %+v", l)
		}
	})
}

// A cables is a set of interfaces for a test.
type cables struct {
	mu   sync.Mutex
	nics []nic
	has  map[string]bool // interfaces with an address
	log  []string
}

func (c *cables) network(dhcp, server map[string]time.Duration) *network {
	c.has = map[string]bool{}
	return &network{
		nics: func() []nic { c.mu.Lock(); defer c.mu.Unlock(); return slices.Clone(c.nics) },
		lease: func(ctx context.Context, n nic) (lease, error) {
			wait, ok := dhcp[n.Name]
			if !ok || !pause(ctx, wait) {
				pause(ctx, 12*time.Second)
				return lease{}, errors.New("no DHCP server answers")
			}
			return lease{Prefix: netip.MustParsePrefix("192.0.2.5/24"), Renew: time.Hour}, nil
		},
		use: func(n nic, _ lease, remove bool) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.has[n.Name] = !remove
			return nil
		},
		reach: func(ctx context.Context, n nic) error {
			wait, ok := server[n.Name]
			if !ok {
				return errors.New("refused")
			}
			pause(ctx, wait)
			return ctx.Err()
		},
		said: func(format string, args ...any) { c.log = append(c.log, fmt.Sprintf(format, args...)) },
	}
}

func TestConnect(t *testing.T) {
	a := nic{Name: "eth0", Index: 2, MAC: "00:00:5e:00:53:01", Link: true}
	b := nic{Name: "eth1", Index: 3, MAC: "00:00:5e:00:53:02", Link: true}
	unplugged := nic{Name: "eth2", Index: 4, MAC: "00:00:5e:00:53:03"}
	s := time.Second
	tests := []struct {
		name         string
		nics         []nic
		later        []nic // after ten seconds
		dhcp, server map[string]time.Duration
		want         string
		within       time.Duration
	}{
		{"one", []nic{a}, nil, map[string]time.Duration{"eth0": s}, map[string]time.Duration{"eth0": 0}, "eth0", 2 * s},
		{"that it was booted from, although slower", []nic{b, a}, nil, map[string]time.Duration{"eth0": 5 * s, "eth1": 0}, map[string]time.Duration{"eth0": 0, "eth1": 0}, "eth0", 6 * s},
		{"another, if that reaches nobody", []nic{b, a}, nil, map[string]time.Duration{"eth0": 0, "eth1": 0}, map[string]time.Duration{"eth1": 0}, "eth1", 8 * s},
		{"another, if there is no link on that", []nic{b, {Name: "eth0", MAC: a.MAC}}, nil, map[string]time.Duration{"eth1": 0}, map[string]time.Duration{"eth1": 0}, "eth1", s},
		{"one that shows up later", []nic{unplugged}, []nic{unplugged, a}, map[string]time.Duration{"eth0": s}, map[string]time.Duration{"eth0": 0}, "eth0", 12 * s},
		{"none", []nic{a, unplugged}, nil, nil, nil, "", 61 * s},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cables{nics: tt.nics}
				w := c.network(tt.dhcp, tt.server)
				if tt.later != nil {
					time.AfterFunc(10*time.Second, func() { c.mu.Lock(); c.nics = tt.later; c.mu.Unlock() })
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				got, err := w.connect(ctx, a.MAC)
				if got.nic.Name != tt.want || (err == nil) != (tt.want != "") {
					t.Errorf("connect = %s, %v; want %q", got.nic.Name, err, tt.want)
				}
				if took := time.Since(began); took > tt.within {
					t.Errorf("it took %s, want at most %s", took, tt.within)
				}
				for name, has := range c.has {
					if has != (name == tt.want) {
						t.Errorf("%s has an address: %v; want %s alone", name, has, tt.want)
					}
				}
				if tt.want == "" && !strings.Contains(err.Error(), "eth0 (00:00:5e:00:53:01): no DHCP server answers; eth2 (00:00:5e:00:53:03): no link") {
					t.Errorf("error %v does not say what is wrong where", err)
				}
			})
		})
	}
}

// A lease is renewed at its time for as long as the agent works, and kept when
// nobody answers.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cables{}
		w := c.network(nil, nil)
		w.last = map[string]string{}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
		defer cancel()
		began, asked := time.Now(), 0
		l := lease{Prefix: netip.MustParsePrefix("192.0.2.5/24"), Renew: time.Hour}
		w.keep(ctx, connection{nic{Name: "eth0"}, l}, func(context.Context, nic, lease) (lease, error) {
			asked++
			if gone := time.Since(began); gone > 3*time.Hour && gone < 5*time.Hour {
				return lease{}, errors.New("no DHCP server answers")
			}
			return l, nil
		})
		if asked < 10 || asked > 1000 {
			t.Errorf("asked %d times in ten hours", asked)
		}
		if len(c.has) > 0 || len(c.log) != 1 {
			t.Errorf("addresses %v changed, said %q", c.has, c.log)
		}
	})
}

func TestAcknowledged(t *testing.T) {
	ok := append([]byte{36, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 20)...)
	if err := acknowledged(ok); err != nil {
		t.Errorf("acknowledged = %v", err)
	}
	ok[16], ok[17], ok[18], ok[19] = 0xef, 0xff, 0xff, 0xff // -EEXIST
	if err := acknowledged(ok); !errors.Is(err, os.ErrExist) {
		t.Errorf("acknowledged = %v, want EEXIST", err)
	}
	if err := acknowledged(ok[:10]); err == nil {
		t.Error("half an answer is one")
	}
}

// The screen fits, whatever is shown.
func TestDraw(t *testing.T) {
	v := view{
		Version: "1.0", Machine: "pc-1", Job: "7 restore", Disk: strings.Repeat("long ", 40), Step: "restore",
		Done: 1 << 30, Total: 4 << 30, Rate: 100 << 20, Problem: "bad", Ask: []string{"a", "b"}, Lines: slices.Repeat([]string{"line"}, 50),
	}
	for _, size := range [][2]int{{80, 25}, {40, 10}, {200, 60}} {
		lines := v.draw(size[0], size[1])
		if len(lines) >= size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, l := range lines {
			if len([]rune(l)) >= size[0] {
				t.Errorf("%v: %q is too long", size, l)
			}
		}
	}
	text := strings.Join(v.draw(100, 60), "\n")
	for _, want := range []string{"[#########....", "25 %, 1.0 GiB of 4.0 GiB, 100 MiB/s, 30s left", "  1) a", "wrong    bad"} {
		if !strings.Contains(text, want) {
			t.Errorf("the screen lacks %q:\n%s", want, text)
		}
	}
}

// A screen is drawn when something has changed, at most twice a second; a
// serial line gets lines alone, and progress each ten seconds.
func TestScreen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var vt, serial bytes.Buffer
		s := newScreen("test",
			&console{name: "tty0", out: &vt, vt: true, size: func() (int, int) { return 80, 25 }},
			&console{name: "ttyS0", out: &serial})
		stop := make(chan struct{})
		var shown sync.WaitGroup
		shown.Go(func() { s.run(stop) })
		s.show(func(v *view) { v.Job, v.Step = "7 restore", "restore" })
		for i := range 600 {
			s.show(func(v *view) { v.Done, v.Total = int64(i+1), 600 })
			time.Sleep(100 * time.Millisecond)
		}
		s.say("bad \x1b[2J text\nsecond")
		time.Sleep(time.Second)
		close(stop)
		shown.Wait()
		if n := strings.Count(vt.String(), "\x1b[H"); n > 125 || n < 50 {
			t.Errorf("drawn %d times in a minute", n)
		}
		lines := strings.Split(strings.TrimSpace(serial.String()), "\r\n")
		if len(lines) > 8 || len(lines) < 6 || !slices.Contains(lines, "slipcast agent: bad ?[2J text second") {
			t.Errorf("serial line: %q", lines)
		}
		if strings.Contains(serial.String(), "\x1b") {
			t.Error("a serial line gets escapes")
		}
	})
}

// A console that takes nothing holds up nobody.
func TestScreenStuck(t *testing.T) {
	s := newScreen("test", &console{name: "ttyS0", out: &bytes.Buffer{}}) // nobody runs it
	for i := range 10000 {
		s.say("line %d", i)
	}
	if n := len(s.last()); n != maxLines {
		t.Errorf("it remembers %d lines, want %d", n, maxLines)
	}
}

func TestReadObjects(t *testing.T) {
	in := strings.Repeat("x", 3<<20) + "\n{\"type\":\"note\"}\n{bad\n{\"type\":\"long\",\"text\":\"" +
		strings.Repeat("y", 2<<20) + "\"}\nnull\n{\"type\":\"error\",\"code\":6,\"message\":\"m\"}"
	var got, other []string
	readObjects(strings.NewReader(in), func(o object) { got = append(got, o.Type) }, func(line string) { other = append(other, line) })
	if want := []string{"note", "error"}; !slices.Equal(got, want) {
		t.Errorf("objects %q, want %q", got, want)
	}
	if want := []string{"{bad", "null"}; !slices.Equal(other, want) {
		t.Errorf("other lines %q, want %q", other, want)
	}
}

// script makes a program of a shell script, which stands for slipcast.
func script(t *testing.T, text string) *processes {
	t.Helper()
	file := filepath.Join(t.TempDir(), "slipcast")
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return &processes{program: file}
}

func TestProcesses(t *testing.T) {
	var got []string
	var mu sync.Mutex
	each := func(o object) { mu.Lock(); defer mu.Unlock(); got = append(got, o.Type+o.Text) }
	p := script(t, `echo '{"type":"note","text":"'"$1 $KEY"'"}'; echo '{"type":"error","message":"why"}' >&2; exit 6`)
	err := p.Run(t.Context(), child{Args: []string{"receive"}, Env: []string{"KEY=k"}, Object: each})
	var failed *childError
	if !errors.As(err, &failed) || failed.Code != 6 || failed.Message != "why" || !nobody(err) {
		t.Errorf("Run = %v", err)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"error", "notereceive k"}) {
		t.Errorf("objects %q", got)
	}
	var out bytes.Buffer
	if err := script(t, "echo image").Run(t.Context(), child{Stdout: &out}); err != nil || out.String() != "image\n" {
		t.Errorf("Run = %v, output %q", err, out.String())
	}
	if err := script(t, "kill -9 $$").Run(t.Context(), child{}); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Run of what is killed = %v", err)
	}
	crash := script(t, `echo '{"type":"note"}'; echo start >&2; echo 'panic: index out of range'; echo; echo 'goroutine 1' >&2; exit 2`)
	if err := crash.Run(t.Context(), child{}); err == nil || err.Error() != "panic: index out of range" {
		t.Errorf("Run of what crashes = %v, want its panic", err)
	}
	hung := script(t, `trap '' TERM; /bin/sleep 6 & echo '{"type":"waiting"}'; wait; wait`) // whose output stays open
	hung.grace = 100 * time.Millisecond
	hctx, give := context.WithCancelCause(t.Context())
	began := time.Now()
	err = hung.Run(hctx, child{Object: func(object) { give(errCancelled) }})
	if !errors.Is(err, errCancelled) || time.Since(began) > 5*time.Second {
		t.Errorf("Run of what does not end = %v after %s", err, time.Since(began))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := script(t, `trap 'exit 130' TERM; echo '{"type":"waiting"}'; while :; do /bin/sleep 0.05; done`)
	err = asked.Run(ctx, child{Object: func(object) { cancel(errCancelled) }})
	if !errors.Is(err, errCancelled) {
		t.Errorf("Run of what is cancelled = %v", err)
	}
}

// A child whose disk hangs is given up.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, gaveUp := time.Now(), make(chan time.Duration, 1)
		w := newWatch(nil, func() { gaveUp <- time.Since(began) })
		defer w.stop()
		for i := range 7200 {
			w.object(object{Type: "progress", Done: int64(min(i, 3600))})
			time.Sleep(time.Second)
		}
		still := <-gaveUp
		if want := time.Hour + silence; still < want-time.Minute || still > want+time.Minute {
			t.Errorf("given up after %s, want about %s", still, want)
		}
	})
}

func TestWipeFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, bytes.Repeat([]byte("secret"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	d := wire.Disk{Name: "disk", Size: 6 << 20}
	var last int64
	if err := wipeDisk(t.Context(), file, d, func(done, _ int64) { last = done }); err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(file)
	if err != nil || len(p) != 6<<20 || bytes.ContainsAny(p, "secret") || last != d.Size {
		t.Errorf("it holds %d bytes (%v), progress says %d", len(p), err, last)
	}
	if err := wipeDisk(t.Context(), file, wire.Disk{Size: 5 << 20}, func(_, _ int64) {}); err == nil {
		t.Error("a disk of another size is wiped")
	}
}

func TestShell(t *testing.T) {
	r := newRoom(nil)
	r.disks[0].InUse = "mounted on /mnt"
	var out bytes.Buffer
	in := make(chan string, 10)
	for _, line := range []string{"", "help", "disks", "net", "log", "kernel", "slipcast inspect x", "poweroff"} {
		in <- line
	}
	s := &shell{
		machine: r, log: func() []string { return []string{"a log"} },
		nics: func() []wire.NIC { return []wire.NIC{{Name: "eth0"}} },
		run:  func(_ context.Context, args []string, _ io.Writer) error { return fmt.Errorf("ran %s", args) },
	}
	if end := s.serve(t.Context(), shellIO{in, &out}); end != wire.PowerOff {
		t.Errorf("serve = %s, want poweroff", end)
	}
	for _, want := range []string{"/dev/sda, S1, p1, 1099.5 GB, mounted on /mnt", "eth0", "a log", "I/O error", "ran [inspect x]"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the console lacks %q:\n%s", want, out.String())
		}
	}
}

// What was typed on a terminal before somebody asked is no answer.
func TestInput(t *testing.T) {
	master, terminal := openTerminal(t)
	if _, err := master.WriteString("1\n"); err != nil {
		t.Fatal(err)
	}
	i := &input{files: []*os.File{terminal}, lines: make(chan string, 16)}
	lines := i.want()
	if _, err := master.WriteString("2\n"); err != nil {
		t.Fatal(err)
	}
	if got := <-lines; got != "2" {
		t.Errorf("read %q, want what was typed after the question, 2", got)
	}
}

// openTerminal opens a new terminal at both ends.
func openTerminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// A seed is used once; without one the kernel of this machine has randomness by
// itself.
func TestAddEntropy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "seed")
	if err := addEntropy(file); err != nil {
		t.Errorf("addEntropy without a seed = %v", err)
	}
	if err := os.WriteFile(file, []byte(rand.Text() + rand.Text() + rand.Text())[:wire.SeedSize], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := addEntropy(file); err != nil {
		t.Errorf("addEntropy = %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the seed is still there: %v", err)
	}
}

// A boot.img that stays in its machine does not start it in circles.
func TestLastEnd(t *testing.T) {
	for _, tt := range []struct {
		end          wire.End
		local, image bool
		want         wire.End
	}{
		{wire.Reboot, true, true, wire.Reboot}, {wire.Reboot, false, true, wire.PowerOff}, {wire.Reboot, false, false, wire.Reboot},
		{wire.PowerOff, false, true, wire.PowerOff}, {wire.PowerOff, true, false, wire.PowerOff},
	} {
		if got := lastEnd(tt.end, tt.local, tt.image); got != tt.want {
			t.Errorf("lastEnd(%s, %v, %v) = %s, want %s", tt.end, tt.local, tt.image, got, tt.want)
		}
	}
}

func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if !within(time.Minute, func() { time.Sleep(time.Second) }) {
			t.Error("what ends in time counts as hanging")
		}
		began, hang := time.Now(), make(chan struct{})
		defer close(hang)
		if within(time.Minute, func() { <-hang }) || time.Since(began) != time.Minute {
			t.Errorf("what hangs was waited for %s", time.Since(began))
		}
	})
}

func TestProcessOne(t *testing.T) {
	for _, tt := range []struct {
		pid  int
		args []string
		want bool
	}{{1, []string{"/init", "splash"}, true}, {1, []string{"slipcast", "serve"}, false}, {2, []string{"/init"}, false}, {1, nil, false}} {
		if got := ProcessOne(tt.pid, tt.args); got != tt.want {
			t.Errorf("ProcessOne(%d, %q) = %v", tt.pid, tt.args, got)
		}
	}
	if err := Main(t.Context(), "test", false); !errors.Is(err, ErrNoBootEnvironment) {
		t.Errorf("Main = %v, want ErrNoBootEnvironment", err)
	}
}
