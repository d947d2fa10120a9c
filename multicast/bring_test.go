package multicast

import (
	"context"
	"testing"
	"testing/synctest"
)

// Those that wait for something to fetch end with their context, however its
// end spreads.
func TestFetchersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for i := range 500 {
			x, err := newReception(t.Context(), &Receiver{ID: "a"})
			if err != nil {
				t.Fatal(err)
			}
			v := &visit{x: x, offer: &offer{}}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- v.fetchAll(ctx) }()
			synctest.Wait()
			cancel()
			synctest.Wait()
			select {
			case <-ended:
			default:
				t.Errorf("run %d has not ended with its context", i)
				x.stop()
				<-ended
				return
			}
			x.hangUp()
		}
	})
}
