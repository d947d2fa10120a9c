package agent

import (
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sync/errgroup"
)

// capture sends the job's disk to the server's store as an image.
func (t *task) capture(ctx context.Context) (stored string, err error) {
	d, err := t.choose(ctx, 0)
	if err != nil {
		return "", err
	}
	d, held, err := t.hold(d)
	if err != nil {
		return "", err
	}
	defer held.Close()
	args := []string{"capture", "--json"}
	if t.job.Level != "" {
		args = append(args, "--level="+t.job.Level)
	}
	in, out := io.Pipe()
	var childErr, putErr error
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		childErr = t.children.Run(gctx, child{Args: append(args, "/dev/"+d.Name, "-"), Stdout: out, Object: t.object})
		out.CloseWithError(childErr) // nil ends the image
		return childErr
	})
	g.Go(func() error {
		if stored, putErr = t.client.putImage(gctx, t.job.Image, in); putErr != nil {
			in.CloseWithError(errAborted)
		}
		return putErr
	})
	g.Wait()
	if putErr == nil || childErr != nil && errors.Is(putErr, childErr) {
		return stored, childErr
	}
	return "", putErr
}

// errAborted is what a child hears whose image nobody takes.
var errAborted = errors.New("the server takes no more of the image")

// A rate tells how fast something goes, over all the time that it went.
type rate struct{ began time.Time }

func newRate() rate { return rate{time.Now()} }

// at returns the bytes a second, of which so many are done.
func (r rate) at(done int64) int64 {
	took := time.Since(r.began).Seconds()
	if took < 1 {
		return 0
	}
	return int64(float64(done) / took)
}
