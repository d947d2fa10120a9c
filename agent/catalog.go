package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
)

// catalogLimit is how long an agent tries to read a file of the catalog.
const catalogLimit = 10 * time.Minute

// A proof is what a server says a job by: the ticket, and the nonce that the
// agent has sent for it.
type proof struct {
	ticket json.RawMessage
	nonce  trust.Nonce
}

// Why an agent restores nothing, whatever the job says.
var (
	errNoRoot  = errors.New("this boot environment knows no catalog, so nothing may be restored; slipcast catalog init makes one on the server")
	errNoProof = errors.New("the server has not proved that the job is its own, so nothing is restored")
)

// release makes sure that a job restores what the catalog lets this machine
// have now, and that it is the server of the catalog who says so. Neither the
// clock of the machine nor what it was told before matters: docs/bundles.md,
// section 7.4. Nothing must have been written before.
func (a *agent) release(ctx context.Context, job *wire.Job, p proof) error {
	switch {
	case len(a.root) == 0:
		return errNoRoot
	case len(p.ticket) == 0:
		return errNoProof
	}
	catalog, err := trust.Load(ctx, catalogSource{a.client}, trust.LoadOptions{
		Root: a.root, Ticket: p.ticket, Nonce: p.nonce, Machine: wire.MAC(a.inventory.MAC),
	})
	if err != nil {
		return fmt.Errorf("the catalog: %w", err)
	}
	if err := checkClaims(catalog.Claims, job); err != nil {
		return fmt.Errorf("the catalog: ticket: %w", err)
	}
	return checkImage(catalog, job)
}

// checkClaims makes sure that a ticket is for a job, and for what that does.
func checkClaims(c *trust.Claims, job *wire.Job) error {
	switch {
	case c.Job != job.ID:
		return fmt.Errorf("%w: it is for job %q, and this is job %q", trust.ErrTicket, wire.Plain(c.Job, 40), wire.Plain(job.ID, 40))
	case c.Image != strings.ToLower(job.Digest):
		return fmt.Errorf("%w: it is for another image", trust.ErrTicket)
	case c.Plan != job.PlanDigest():
		return fmt.Errorf("%w: it is for other bundles", trust.ErrTicket)
	}
	return nil
}

// checkImage makes sure that the image of a job is released, by its name and its
// digest, and not recalled, under whatever name.
func checkImage(c *trust.Catalog, job *wire.Job) error {
	digest := strings.ToLower(job.Digest)
	if same, err := c.Image(digest); err == nil && same.Recalled != "" {
		return fmt.Errorf("the image %s was recalled: %s", same.ID(), wire.Plain(same.Recalled, wire.MaxText))
	}
	for i := range c.Images {
		if c.Images[i].ID() != job.Image {
			continue
		}
		if c.Images[i].Digest != digest {
			return fmt.Errorf("the image %s that was released is another one: its digest is %s, that of the job %s", job.Image, c.Images[i].Digest, digest)
		}
		return nil
	}
	return fmt.Errorf("the image %s is not released", job.Image)
}

// A catalogSource reads the metadata of the server's catalog. It implements
// trust.Source.
type catalogSource struct{ client *client }

// Metadata implements trust.Source.
func (s catalogSource) Metadata(ctx context.Context, name string, most int64) (p []byte, err error) {
	err = again(ctx, catalogLimit, func(ctx context.Context) error {
		p, err = s.client.get(ctx, "/api/v1/agent/catalog/metadata/"+name, most+1)
		return err
	}, nil)
	var status *StatusError
	switch {
	case errors.As(err, &status) && status.Status == http.StatusNotFound:
		return nil, fmt.Errorf("the server has no %s: %w", name, fs.ErrNotExist)
	case err != nil:
		return nil, err
	case int64(len(p)) > most:
		return nil, fmt.Errorf("%w: more than %d bytes", trust.ErrMalformed, most)
	}
	return p, nil
}
