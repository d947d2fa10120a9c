package fresh

import (
	"bytes"
	"strings"
)

// isHostname tells whether a text can be the name of a machine: at most 64
// bytes (HOST_NAME_MAX of Linux) of labels as in RFC 1123, section 2.1.
func isHostname(name string) bool {
	if len(name) > 64 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", c) {
				return false
			}
		}
	}
	return true
}

// rename sets the name in hostname(5) and, where Debian keeps it, in hosts(5).
func (s *system) rename(etc *folder) {
	name := s.run.opt.Hostname
	hosts, err := etc.read("hosts")
	s.try(err)
	if err == nil {
		s.put(etc, "hosts", editHosts(hosts, name), 0o644)
	}
	s.put(etc, "hostname", []byte(name+"\n"), 0o644)
}

// editHosts gives the lines of 127.0.1.1 a new name, in front the one with a
// domain: that of name itself, or else the one that was there. All other bytes
// stay.
func editHosts(text []byte, name string) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		fields := bytes.Fields(line)
		if len(fields) == 0 || string(fields[0]) != "127.0.1.1" {
			out = append(out, line...)
			continue
		}
		full := name
		if len(fields) > 1 && !strings.Contains(name, ".") {
			if _, domain, ok := strings.Cut(string(fields[1]), "."); ok && isHostname(domain) && len(name)+len(domain) < 255 {
				full = name + "." + domain
			}
		}
		names := full
		if short, _, ok := strings.Cut(full, "."); ok {
			names += "\t" + short
		}
		out = append(out, "127.0.1.1\t"+names...)
		if bytes.HasSuffix(line, []byte("\n")) {
			out = append(out, '\n')
		}
	}
	return out
}
