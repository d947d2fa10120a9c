package main

import (
	"slices"
	"strings"
	"unicode"

	"slipcast/multicast"
)

// plain returns text from the network so that it can be shown: on one line,
// without control characters and those that turn the direction of writing, and
// not longer than so many characters.
func plain(text string, longest int) string {
	var b strings.Builder
	n := 0
	for _, r := range text { // invalid bytes are unicode.ReplacementChar
		if n++; n > longest {
			break
		}
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case !unicode.IsPrint(r):
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Longest names and reasons from the network that are shown, in characters.
const (
	longestName   = 64
	longestReason = 200
)

// plainStatus returns s with what came from receivers made plain.
func plainStatus(s multicast.Status) multicast.Status {
	s.Receivers = slices.Clone(s.Receivers)
	for i := range s.Receivers {
		r := &s.Receivers[i]
		r.ID, r.Name = plain(r.ID, longestName), plain(r.Name, longestName)
		r.Target, r.Reason = plain(r.Target, longestName), plain(r.Reason, longestReason)
		if !(r.Loss >= 0 && r.Loss <= 1) { // JSON has no word for what is no number
			r.Loss = 0
		}
	}
	return s
}

// plainOffer returns o with what came from the sender made plain.
func plainOffer(o multicast.Offer) multicast.Offer {
	o.Name, o.Host = plain(o.Name, longestName), plain(o.Host, longestName)
	o.Title = plain(o.Title, longestName)
	return o
}
