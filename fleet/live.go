package fleet

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"slipcast/agent/wire"
)

const (
	maxWatchers = 128              // browsers that follow the events at a time
	maxPerAddr  = 16               // of them from one address
	liveEvery   = time.Second      // how often it is looked for changes
	heartbeat   = 15 * time.Second // how often something is sent at least, so that who has gone is noticed
)

// live tells browsers when the machines have changed. All share one look at
// the database, which is taken only while somebody watches.
type live struct {
	fleet *Fleet

	mu       sync.Mutex
	watchers map[chan []byte]netip.Addr // where they are
	last     []byte                     // what was sent last
	stop     context.CancelFunc         // of the look-out, nil if there is none
}

// watch returns a channel that gets the list of machines at once and whenever
// it has changed; of several that were not taken, the newest. It is nil if
// there are too many watchers, in all or at this address.
func (l *live) watch(from netip.Addr) chan []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	near := 0
	for _, other := range l.watchers {
		if other == from {
			near++
		}
	}
	if len(l.watchers) >= maxWatchers || near >= maxPerAddr {
		return nil
	}
	if l.watchers == nil {
		l.watchers = map[chan []byte]netip.Addr{}
	}
	ch := make(chan []byte, 1)
	l.watchers[ch] = from
	if l.last != nil {
		ch <- l.last
	}
	if l.stop == nil {
		ctx, stop := context.WithCancel(context.Background())
		l.stop = stop
		go l.look(ctx) // ends with the last watcher
	}
	return ch
}

// leave ends a watch.
func (l *live) leave(ch chan []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers, ch)
	if len(l.watchers) == 0 && l.stop != nil {
		l.stop()
		l.stop, l.last = nil, nil
	}
}

// look sends the list to the watchers whenever it has changed, until ctx is
// done. SQLite tells cheaply whether somebody has written: PRAGMA data_version.
func (l *live) look(ctx context.Context) {
	conn, err := l.fleet.read.Conn(ctx)
	if err != nil {
		return // the database is closed
	}
	defer conn.Close()
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for known := int64(-1); ; {
		var version int64
		err := conn.QueryRowContext(ctx, "PRAGMA data_version").Scan(&version)
		if err == nil && version != known {
			if text := l.list(ctx); text != nil && ctx.Err() == nil {
				l.tell(text)
				known = version
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// list returns the machines as JSON; nil if the database does not answer: the
// next look may.
func (l *live) list(ctx context.Context) []byte {
	machines, err := l.fleet.Machines(ctx)
	if err != nil {
		return nil
	}
	return []byte(mustJSON(map[string]any{"schema": wire.Schema, "machines": machines}))
}

func (l *live) tell(text []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Equal(text, l.last) {
		return
	}
	l.last = text
	for ch := range l.watchers {
		select {
		case <-ch: // an older one that was not taken
		default:
		}
		ch <- text // only tell and watch send, under the lock: there is room
	}
}

// events sends server-sent events: HTML Living Standard, section 9.2.
func (o *OperatorAPI) events(w http.ResponseWriter, r *http.Request) {
	if _, err := o.admit(r); err != nil {
		o.fail(w, r, err)
		return
	}
	ch := o.live.watch(remote(r))
	if ch == nil {
		w.Header().Set("Retry-After", "30")
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "too many browsers follow the events"})
		return
	}
	defer o.live.leave(ch)
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Time{})
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	text := []byte(": slipcast\nretry: 2000\n\n")
	for {
		control.SetWriteDeadline(time.Now().Add(operatorPatience))
		if _, err := w.Write(text); err != nil || control.Flush() != nil {
			return
		}
		select {
		case list := <-ch:
			text = fmt.Appendf(nil, "event: machines\ndata: %s\n\n", list)
		case <-beat.C:
			text = []byte(": still here\n\n")
		case <-r.Context().Done():
			return
		}
	}
}
