package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"slipcast/internal/lab"
)

const (
	crowdSize   = 200
	crowdPeak   = 64 << 10 // KiB of memory that the server may take for them
	crowdShim   = 1e6      // bytes
	crowdKernel = 2e6
	crowdInitrd = 4e6
)

// TestRootServeCrowd boots 200 machines at once: shim by TFTP, kernel,
// initramfs and archive by HTTP, hello by HTTPS, while 100 browsers look on.
func TestRootServeCrowd(t *testing.T) {
	s := newLabServer(t, "--rate", "none")
	for name, size := range map[string]int64{"shim.efi": crowdShim, "linux": crowdKernel, "initrd": crowdInitrd} {
		labRandom(t, filepath.Join(s.boot, "x64", name), size)
	}
	for i := range crowdSize {
		lab.Run(t, "ip", "-n", s.name+"-1", "address", "add", crowdAddress(i).String()+"/24", "dev", "eth0")
	}
	p := s.serve()
	first := s.machine(1)
	first.boot()
	var wait sync.WaitGroup
	for i := range crowdSize {
		m := s.machineAt("1", i+2, crowdAddress(i))
		m.pin = first.pin
		wait.Go(func() { m.bootAll(s, i%2 == 0) })
	}
	wait.Wait()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	peak, err := strconv.Atoi(string(labHWM.FindSubmatch(status)[1]))
	if err != nil || peak > crowdPeak {
		t.Errorf("the server took %d KiB for %d machines, %v; want at most %d", peak, crowdSize, err, crowdPeak)
	}
	t.Logf("the server took %d KiB for %d machines", peak, crowdSize)
	p.signal(syscall.SIGINT)
	p.want(exitDone)
}

// crowdAddress returns the address of machine i of a crowd.
func crowdAddress(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 83, 0, byte(30 + i)}) }

// bootAll boots the machine as its firmware and its loader do, and says hello.
// A browser beside it may follow the events meanwhile.
func (m *labMachine) bootAll(s *labServer, follow bool) {
	if follow {
		ctx, stop := context.WithCancel(m.t.Context())
		defer stop()
		m.follow(ctx)
	}
	m.fetchTFTP(s, "x64/shim.efi", crowdShim)
	for name, size := range map[string]int64{"linux": crowdKernel, "initrd": crowdInitrd} {
		answer, err := m.client.Get(labHTTP + "/x64/" + name)
		if err != nil {
			m.t.Error(err)
			return
		}
		if n, err := io.Copy(io.Discard, answer.Body); err != nil || n != size {
			m.t.Errorf("%s: %d bytes, %v; want %d", name, n, err, size)
		}
		answer.Body.Close()
	}
	m.boot()
}

// follow begins to follow the events, until ctx is done.
func (m *labMachine) follow(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, "GET", labHTTPS+"/events", nil)
	if err != nil {
		m.t.Error(err)
		return
	}
	answer, err := m.client.Transport.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK {
		m.t.Errorf("events: %v, %v; want 200", answer, err)
		return
	}
	context.AfterFunc(ctx, func() { answer.Body.Close() })
}

// fetchTFTP fetches a file block by block (RFC 1350), of 1428 bytes each
// (RFC 2348).
func (m *labMachine) fetchTFTP(s *labServer, name string, size int) {
	var conn *net.UDPConn
	s.inside(m.where, func() {
		var err error
		if conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(m.from, 0))); err != nil {
			m.t.Error(err)
		}
	})
	defer conn.Close()
	last, to := []byte("\x00\x01"+name+"\x00octet\x00blksize\x001428\x00"), netip.MustParseAddrPort("10.83.0.1:69")
	got, next, p := 0, uint16(0), make([]byte, 2048)
	for tries := 0; tries < 50; {
		if _, err := conn.WriteToUDPAddrPort(last, to); err != nil {
			m.t.Error(err)
			return
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			m.t.Error(err)
			return
		}
		n, from, err := conn.ReadFromUDPAddrPort(p)
		block := binary.BigEndian.Uint16(p[2:])
		switch {
		case err != nil:
			tries++ // it is sent again
			continue
		case p[1] == 6:
			block = 0 // the answer to the option
		case block == next:
			got += n - 4
		}
		last, to = binary.BigEndian.AppendUint16([]byte{0, 4}, block), from
		if block == next {
			next++
		}
		if p[1] == 3 && n < 4+1428 && got == size {
			_, _ = conn.WriteToUDPAddrPort(last, to) // the last one; if it is lost the server waits for nothing
			return
		}
	}
	m.t.Errorf("%s by TFTP: %d bytes, want %d", name, got, size)
}
