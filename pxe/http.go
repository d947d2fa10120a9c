package pxe

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"
)

// The limits of HTTP. A machine that loads 20 MiB from a slow switch is
// alive as long as a piece of it gets through within httpPatience.
//
// A connection whose machine was switched off is to be gone when the machine
// is back: GRUB uses the same ports in each boot, and would not get in again
// as long as our kernel knows the old connection. So it is closed when it has
// been idle for a short time, and forgotten at once.
const (
	httpConns    = 1024 // at once
	httpPerAddr  = 16   // at once, from one address
	httpPatience = 30 * time.Second
	httpIdle     = 5 * time.Second
	httpUnacked  = 15 * time.Second
	httpHeader   = 16 << 10 // bytes
	httpFarewell = 2 * time.Second
	httpBody     = 1 << 10 // bytes that a request may carry, and nobody reads
)

// serveHTTP answers machines until ctx is done, and then returns nil.
func (s *Server) serveHTTP(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           http.MaxBytesHandler(s.HTTPHandler(), httpBody),
		ReadHeaderTimeout: httpPatience, ReadTimeout: httpPatience, IdleTimeout: httpIdle, MaxHeaderBytes: httpHeader,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0), // strangers cause all that it says
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(newDoor(l, httpConns, httpPerAddr, true)) }() // awaited below
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpFarewell)
	defer cancel()
	if server.Shutdown(farewell) != nil {
		server.Close()
	}
	<-failed
	return nil
}

// serveMachine answers one request.
func (s *Server) serveMachine(w http.ResponseWriter, r *http.Request) {
	s.counters.http.Add(1)
	w = &patient{w, http.NewResponseController(w)}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		s.counters.refused.Add(1)
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	if text, ok := s.commonScript(name); ok {
		serveText(w, r, text)
		return
	}
	if rest, ok := strings.CutPrefix(name, "machine/"); ok {
		s.serveOwn(w, r, rest)
		return
	}
	s.serveFile(w, r, name)
}

// serveFile answers with a file of the boot folder, or says at once that there
// is none; the connection stays open then (tianocore/edk2#9920).
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, name string) {
	local, ok := filePath(name)
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	f, info, err := s.openFile(local)
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if err != nil {
		s.say(slog.LevelError, "file is not sent", "file", local, "err", err)
		http.Error(w, "the server has trouble with this file", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", contentType(local))
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// contentType returns what UEFI expects of HTTP boot (UEFI 2.10, section
// 24.7.3.1).
func contentType(local string) string {
	switch path.Ext(local) {
	case ".efi":
		return "application/efi"
	case ".img":
		return "application/vnd.efi-img"
	}
	return "application/octet-stream"
}

// serveText answers with a script.
func serveText(w http.ResponseWriter, r *http.Request, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
}

// remote returns the address that a request came from; not valid if it is
// none of IPv4.
func remote(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}
