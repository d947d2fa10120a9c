package pxe

import (
	"sync/atomic"

	"slipcast/pxe/tftp"
)

// Stats count what a Server has done since it was made.
type Stats struct {
	Requests  int64 // DHCP requests that were understood
	Answers   int64 // DHCP answers
	Ignored   int64 // requests that are not answered: not of boot clients, or as the Director says
	Malformed int64 // datagrams that are not DHCP requests
	Dropped   int64 // requests that came too fast, or from where nothing is sent to
	Unsent    int64 // answers that the network did not take

	HTTP     int64 // HTTP requests
	Scripts  int64 // scripts made for machines
	Offers   int64 // archives made
	Refused  int64 // HTTP requests that were not for whom they came from, or wrong
	TFTP     tftp.Stats
	Declined int64 // addresses that turned out to be taken
}

type counters struct {
	requests, answers, ignored, malformed, dropped, unsent atomic.Int64
	http, scripts, offers, refused, declined               atomic.Int64
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	c := &s.counters
	return Stats{
		Requests: c.requests.Load(), Answers: c.answers.Load(), Ignored: c.ignored.Load(),
		Malformed: c.malformed.Load(), Dropped: c.dropped.Load(), Unsent: c.unsent.Load(),
		HTTP: c.http.Load(), Scripts: c.scripts.Load(), Offers: c.offers.Load(), Refused: c.refused.Load(),
		TFTP: s.tftp.Stats(), Declined: c.declined.Load(),
	}
}
