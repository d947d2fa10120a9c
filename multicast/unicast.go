package multicast

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Bounds of what is given by HTTPS.
const (
	maxGiving = 16               // frames that are in memory at a time
	turnTime  = 5 * time.Second  // that a request waits until it is its turn
	partBytes = 16 << 10         // that are paced and written at once
	takeTime  = 10 * time.Second // that a receiver may need to take a frame,
	takeRate  = 64 << 10         // and another second for so many bytes of it
)

// framesPath is where the frames are, each under its number.
const framesPath = "/v1/frames/"

// A limiter waits until so many bytes of frames may be sent.
type limiter interface {
	wait(ctx context.Context, bytes int) error
}

// A frameServer gives single frames of a session by HTTPS, section 10.
type frameServer struct {
	source Source
	token  [tokenSize]byte
	limit  func(receiver netip.Addr) limiter
	log    *slog.Logger

	turns chan []byte  // to give a frame, each with a buffer for it
	given atomic.Int64 // bytes of frames
}

// newFrameServer returns a server for the frames of a session. limit is asked
// once for each request.
func newFrameServer(source Source, token [tokenSize]byte, limit func(receiver netip.Addr) limiter, log *slog.Logger) *frameServer {
	s := &frameServer{source: source, token: token, limit: limit, log: log, turns: make(chan []byte, maxGiving)}
	for range maxGiving {
		s.turns <- nil
	}
	return s
}

// ServeHTTP implements [http.Handler].
func (s *frameServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 { // nobody waits for what is not read
		http.NewResponseController(w).SetReadDeadline(time.Now())
		refuse(w, http.StatusBadRequest)
		return
	}
	if !s.admits(r.Header.Get("Authorization")) {
		refuse(w, http.StatusUnauthorized)
		return
	}
	admit(r.Context())
	n, ok := s.number(r.URL.Path)
	switch {
	case r.Method != http.MethodGet:
		refuse(w, http.StatusMethodNotAllowed)
	case !ok:
		http.Error(w, "the session has no such frame", http.StatusNotFound)
	default:
		s.give(w, r, n)
	}
}

// refuse answers with an error and closes the connection.
func refuse(w http.ResponseWriter, code int) {
	w.Header().Set("Connection", "close")
	http.Error(w, http.StatusText(code), code)
}

// admits returns whether the header has the token. The time that it takes does
// not tell how much of it is right.
func (s *frameServer) admits(header string) bool {
	text, _ := strings.CutPrefix(header, "Bearer ")
	token, err := hex.DecodeString(text)
	return err == nil && subtle.ConstantTimeCompare(token, s.token[:]) == 1
}

// number returns the number of the frame that path is for.
func (s *frameServer) number(path string) (int, bool) {
	digits, ok := strings.CutPrefix(path, framesPath)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, false
	}
	return int(n), n < uint64(pieces(len(s.source.Preface()))+s.source.Frames())
}

// give answers with frame n of the session when it is the request's turn.
func (s *frameServer) give(w http.ResponseWriter, r *http.Request, n int) {
	var buf []byte
	select {
	case buf = <-s.turns:
		defer func() { s.turns <- buf }()
	case <-time.After(turnTime):
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many receivers fetch", http.StatusServiceUnavailable)
		return
	case <-r.Context().Done():
		return
	}
	frame, buf, err := s.read(n, buf)
	if err != nil {
		s.log.Error("frame cannot be read", "frame", n, "err", err)
		http.Error(w, "the frame cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(frame)))
	s.write(w, r, frame) // what it cannot write, the receiver misses
}

// read returns frame n of the session, and buf or a larger one in its place.
func (s *frameServer) read(n int, buf []byte) (frame, grown []byte, err error) {
	preface := s.source.Preface()
	if first := pieces(len(preface)); n >= first {
		frame, err = s.source.ReadFrame(n-first, buf)
		return frame, frame, err
	}
	start := n * pieceSize
	return preface[start:min(start+pieceSize, len(preface))], buf, nil
}

// write sends a frame at the pace of the session, as long as the receiver
// takes it.
func (s *frameServer) write(w http.ResponseWriter, r *http.Request, frame []byte) {
	remote, _ := netip.ParseAddrPort(r.RemoteAddr)
	pace := s.limit(remote.Addr().Unmap())
	conn := http.NewResponseController(w)
	left := takeTime + time.Duration(len(frame))*time.Second/takeRate
	for len(frame) > 0 {
		part := frame[:min(len(frame), partBytes)]
		if pace.wait(r.Context(), len(part)) != nil {
			return
		}
		start := time.Now()
		conn.SetWriteDeadline(start.Add(left))
		if _, err := w.Write(part); err != nil || conn.Flush() != nil {
			return
		}
		left -= time.Since(start)
		s.given.Add(int64(len(part)))
		frame = frame[len(part):]
	}
}
