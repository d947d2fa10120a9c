package tftp

import "sync/atomic"

// Stats count what a server has done since it was made.
type Stats struct {
	Active    int64 // transfers that run now
	Started   int64 // transfers
	Done      int64 // transfers whose last block was acknowledged
	Failed    int64 // transfers that ended before, for any reason but a probe
	Probes    int64 // transfers that the client ended when it knew the options
	Missing   int64 // requests for files that are not there
	Refused   int64 // requests that were refused, or not answered because of a limit
	Malformed int64 // datagrams that are not TFTP
	Strangers int64 // datagrams to a transfer that were not its client's
	Bytes     int64 // of files, acknowledged
}

type counters struct {
	active, started, done, failed, probes         atomic.Int64
	missing, refused, malformed, strangers, bytes atomic.Int64
}

// Stats returns the counters. It is safe for concurrent use.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{
		Active: c.active.Load(), Started: c.started.Load(), Done: c.done.Load(), Failed: c.failed.Load(),
		Probes: c.probes.Load(), Missing: c.missing.Load(), Refused: c.refused.Load(),
		Malformed: c.malformed.Load(), Strangers: c.strangers.Load(), Bytes: c.bytes.Load(),
	}
}
