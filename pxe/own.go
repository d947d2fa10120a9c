package pxe

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
)

// maxSerial is the number of bytes of a serial number.
const maxSerial = 64

// uuidPattern is a UUID as it stands in a path. regexp.Regexp is safe for
// concurrent use.
var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// parseOwn reads what follows /machine/: MAC/FILE, or MAC/UUID/FILE. MAC and
// UUID are in lower case, and nothing else than what they say.
func parseOwn(rest string) (c Client, file string, ok bool) {
	parts := strings.Split(rest, "/")
	if len(parts) != 2 && len(parts) != 3 {
		return c, "", false
	}
	mac, err := net.ParseMAC(parts[0])
	if err != nil || !usable(mac) || mac.String() != parts[0] {
		return c, "", false
	}
	c.MAC = mac
	if len(parts) == 2 {
		return c, parts[1], parts[1] == "boot.ipxe"
	}
	if parts[1] != "-" {
		if !uuidPattern.MatchString(parts[1]) {
			return c, "", false
		}
		c.UUID = parts[1]
	}
	switch file = parts[2]; file {
	case "grub.cfg", "boot.ipxe", "archive":
		return c, file, true
	}
	return c, "", false
}

// serial returns a serial number that a script sent; empty if it is none.
func serial(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > maxSerial || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return text
}

// serveOwn answers with what is made for one machine.
func (s *Server) serveOwn(w http.ResponseWriter, r *http.Request, rest string) {
	c, file, ok := parseOwn(rest)
	c.Address = remote(r)
	switch {
	case !ok:
		http.Error(w, "not found", http.StatusNotFound)
	case !s.near(c.Address) && c.Address != s.addr(), browses(r):
		s.counters.refused.Add(1)
		http.Error(w, "not for this address", http.StatusForbidden)
	case file == "archive":
		s.serveArchive(w, r, c)
	case strings.Count(rest, "/") == 1:
		serveText(w, r, s.ipxeFirstScript(c))
	default:
		c.Serial = serial(r.URL.Query().Get("serial"))
		s.serveScript(w, r, c, file)
	}
}

// browses tells whether a browser sends a request. It may do so because a page
// of anybody says so, and would have the boots of machines counted. Firmware,
// GRUB and iPXE have names of their own.
func browses(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "Mozilla/") }

// serveScript answers with the script that leads a machine to its disk or
// into the boot environment.
func (s *Server) serveScript(w http.ResponseWriter, r *http.Request, c Client, file string) {
	ctx, cancel := context.WithTimeout(r.Context(), directTime)
	defer cancel()
	d, err := s.Director.Direct(ctx, c)
	args := ""
	if err == nil {
		args, err = s.commandLine(d.Args)
	}
	switch {
	case err != nil:
		s.trouble(w, c, err)
		return
	case d.Verdict == Ignore:
		http.Error(w, "not found", http.StatusNotFound)
		return
	case d.Verdict == Agent:
		s.boots.scripted(c)
	}
	s.counters.scripts.Add(1)
	s.say(slog.LevelInfo, "machine is sent on", "mac", c.MAC.String(), "uuid", c.UUID, "verdict", d.Verdict)
	if file == "grub.cfg" {
		serveText(w, r, s.grubScript(c, d.Verdict, args))
		return
	}
	serveText(w, r, s.ipxeScript(c, d.Verdict, args))
}

// serveArchive answers with the archive of a machine, to the address alone
// that its script went to.
func (s *Server) serveArchive(w http.ResponseWriter, r *http.Request, c Client) {
	b := s.boots.find(c)
	if b == nil {
		s.counters.refused.Add(1)
		s.say(slog.LevelWarn, "archive is refused", "mac", c.MAC.String(), "address", c.Address)
		http.Error(w, "not for this address", http.StatusForbidden)
		return
	}
	p, made, err := b.archive(func(c Client) ([]byte, error) { return s.offer(r.Context(), c) })
	if err != nil {
		s.trouble(w, c, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Cache-Control", "no-store")
	http.ServeContent(w, r, "", made, bytes.NewReader(p))
	if r.Method == http.MethodGet && r.Context().Err() == nil {
		b.done.Store(true)
	}
}

// offer asks the Director for the files of a machine. A machine that goes
// away meanwhile does not cut it short: it counts.
func (s *Server) offer(ctx context.Context, c Client) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), offerTime)
	defer cancel()
	files, err := s.Director.Offer(ctx, c)
	if err != nil {
		return nil, err
	}
	s.counters.offers.Add(1)
	s.say(slog.LevelInfo, "machine is given the boot environment", "mac", c.MAC.String(), "uuid", c.UUID)
	return archive(files)
}

// trouble answers when the Director has failed: the machine asks again.
func (s *Server) trouble(w http.ResponseWriter, c Client, err error) {
	if !errors.Is(err, context.Canceled) {
		s.say(slog.LevelError, "machine is not answered", "mac", c.MAC.String(), "err", err)
	}
	w.Header().Set("Retry-After", "5")
	http.Error(w, "the server has trouble, try again", http.StatusServiceUnavailable)
}
