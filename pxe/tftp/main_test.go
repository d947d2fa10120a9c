package tftp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain makes the test binary the two programs of scripts/bench-tftp, if
// SLIPCAST_TFTP says so: a server that has nothing but this package, and a
// client that is the same for all servers.
func TestMain(m *testing.M) {
	var err error
	switch os.Getenv("SLIPCAST_TFTP") {
	case "serve":
		err = benchServe(os.Args[1], os.Args[2])
	case "fetch":
		err = benchFetch(os.Args[1:])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveDir makes a server of the files of a folder.
func serveDir(dir string) *Server {
	return &Server{Files: func(_ context.Context, r Request) (File, error) {
		f, err := os.Open(filepath.Join(dir, r.Name))
		if err != nil {
			return File{}, err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = fs.ErrNotExist
		}
		if err != nil {
			f.Close()
			return File{}, err
		}
		return File{ReaderAt: f, Size: info.Size(), Closer: f}, nil
	}}
}

// benchServe serves the files of a folder until it is told to end.
func benchServe(address, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	addr, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return err
	}
	conn, err := net.ListenUDP("udp4", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	s := serveDir(dir)
	err = s.Serve(ctx, conn)
	fmt.Fprintf(os.Stderr, "%+v\n", s.Stats())
	return err
}

// benchFetch takes SERVER BLOCK WINDOW CLIENTS FROM FILE...: so many clients,
// each with an address of its own from FROM on, fetch the files one after
// another, by the base names of files that are here, too, and are compared. It
// prints the seconds of the slowest and of the median client, and how many
// failed.
func benchFetch(args []string) error {
	server, err := netip.ParseAddrPort(args[0])
	if err != nil {
		return err
	}
	var n [3]int
	for i := range n {
		if n[i], err = strconv.Atoi(args[1+i]); err != nil {
			return err
		}
	}
	addr, err := netip.ParseAddr(args[4])
	if err != nil {
		return err
	}
	var files [][]byte
	for _, name := range args[5:] {
		p, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files = append(files, p)
	}
	took := make([]time.Duration, n[2])
	errs := make([]error, n[2])
	var clients sync.WaitGroup
	for i := range n[2] {
		from := addr
		clients.Go(func() {
			began := time.Now()
			for j, name := range args[5:] {
				c := benchClient{server: server, from: from, block: n[0], window: n[1], want: files[j]}
				if err := c.fetch(filepath.Base(name)); err != nil {
					errs[i] = fmt.Errorf("%v: %s: %w", from, name, err)
					return
				}
			}
			took[i] = time.Since(began)
		})
		addr = addr.Next()
	}
	clients.Wait()
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	slices.Sort(took)
	fmt.Printf("%.4f %.4f %d\n", took[len(took)-1].Seconds(), took[len(took)/2].Seconds(), len(failed))
	return errors.Join(failed[:min(len(failed), 3)]...)
}

// A benchClient fetches one file by blocking calls, which cost less than those
// of package net, and takes all datagrams that are there in one call.
type benchClient struct {
	server        netip.AddrPort
	from          netip.Addr
	block, window int
	want          []byte

	fd   int
	last int64 // the block that has arrived, in order
	due  int64 // blocks since the last acknowledgement
	lost bool  // that was said already
	done bool
}

func (c *benchClient) fetch(name string) (err error) {
	if c.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	defer unix.Close(c.fd)
	if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return err
	}
	if err := unix.Bind(c.fd, &unix.SockaddrInet4{Addr: c.from.As4()}); err != nil {
		return err
	}
	first, err := c.ask(name)
	if err != nil {
		return err
	}
	if err := c.take(first); err != nil {
		return err
	}
	return c.receive()
}

// ask sends the request until there is an answer, and connects to where it
// came from.
func (c *benchClient) ask(name string) ([]byte, error) {
	req := fmt.Appendf(nil, "\x00\x01%s\x00octet\x00blksize\x00%d\x00", name, c.block)
	if c.window > 1 {
		req = fmt.Appendf(req, "windowsize\x00%d\x00", c.window)
	}
	asked := c.window
	c.window = 1
	p := make([]byte, 65536)
	for range 30 {
		to := &unix.SockaddrInet4{Addr: c.server.Addr().As4(), Port: int(c.server.Port())}
		if err := unix.Sendto(c.fd, req, 0, to); err != nil {
			return nil, err
		}
		n, from, err := unix.Recvfrom(c.fd, p, 0)
		if err == unix.EAGAIN || err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		if from.(*unix.SockaddrInet4).Addr != to.Addr {
			return nil, fmt.Errorf("answer from %v", from)
		}
		if bytes.Contains(bytes.ToLower(p[:n]), fmt.Appendf(nil, "windowsize\x00%d\x00", asked)) {
			c.window = asked
		}
		return p[:n], unix.Connect(c.fd, from)
	}
	return nil, errors.New("no answer")
}

// receive takes datagrams until the file is whole.
func (c *benchClient) receive() error {
	n := min(64, c.window)
	type mmsg struct {
		hdr unix.Msghdr
		n   uint32
	}
	msgs, iovs, bufs := make([]mmsg, n), make([]unix.Iovec, n), make([][]byte, n)
	for i := range msgs {
		bufs[i] = make([]byte, c.block+64)
		iovs[i] = unix.Iovec{Base: &bufs[i][0], Len: uint64(len(bufs[i]))}
		msgs[i].hdr.Iov, msgs[i].hdr.Iovlen = &iovs[i], 1
	}
	for tries := 0; !c.done; {
		got, err := recvmmsg(c.fd, &msgs[0].hdr, n)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN && tries < 30:
			tries++
			if err := c.ack(); err != nil {
				return err
			}
			continue
		case err != nil:
			return fmt.Errorf("after block %d: %w", c.last, err)
		}
		tries = 0
		for i := range got {
			if err := c.take(bufs[i][:msgs[i].n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// take takes one datagram.
func (c *benchClient) take(p []byte) error {
	if len(p) < 4 {
		return fmt.Errorf("a datagram of %d bytes", len(p))
	}
	switch opcode(binary.BigEndian.Uint16(p)) {
	case opOptions:
		return c.ack()
	case opData:
		return c.data(binary.BigEndian.Uint16(p[2:]), p[4:])
	}
	return fmt.Errorf("answer %q", p)
}

func (c *benchClient) data(block uint16, p []byte) error {
	if block != uint16(c.last+1) {
		if c.window == 1 || c.lost {
			return nil
		}
		c.lost = true
		return c.ack()
	}
	at := min(int(c.last)*c.block, len(c.want))
	if want := c.want[at:min(at+c.block, len(c.want))]; !bytes.Equal(p, want) {
		return fmt.Errorf("block %d is not what the file has there", c.last+1)
	}
	c.last, c.lost, c.done = c.last+1, false, len(p) < c.block
	if c.due++; c.due >= int64(c.window) || c.done {
		return c.ack()
	}
	return nil
}

func (c *benchClient) ack() error {
	c.due = 0
	p := [4]byte{1: byte(opAck), 2: byte(c.last >> 8), 3: byte(c.last)}
	_, err := unix.Write(c.fd, p[:])
	if err == unix.ECONNREFUSED {
		return nil // of an earlier one; the server may be done
	}
	return err
}
