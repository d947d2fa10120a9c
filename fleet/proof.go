package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
)

// checkNonce refuses the nonce of a request that is none. There may be none.
func checkNonce(text string) error {
	if text == "" {
		return nil
	}
	if _, err := trust.ParseNonce(text); err != nil {
		return fmt.Errorf("%w: nonce: %v", ErrMalformed, err)
	}
	return nil
}

// errOldAgent reports a boot environment that would restore whatever it is told.
var errOldAgent = fmt.Errorf("%w: the boot environment of the machine is older than the catalog, and would not look at it; slipcast boot build makes it anew", ErrNotReleased)

// prove returns the ticket for a job, docs/bundles.md, section 7.4, with the
// nonce of the request. Only a restore needs one. The error wraps [ErrNotFound]
// or [ErrNotReleased] if the machine must not have the image, or nobody can sign
// that it may.
func (a *AgentAPI) prove(ctx context.Context, g *greeting, j *wire.Job, nonce string) (json.RawMessage, error) {
	if j.Kind != wire.Restore {
		return nil, nil
	}
	if _, err := a.Images.Resolve(ctx, j.Image); errors.Is(err, ErrNotFound) { // of any other trouble the agent will tell
		return nil, fmt.Errorf("the image %s is not in the store any more: %w", j.Image, ErrNotFound)
	}
	if err := allows(ctx, a.Catalog, Image{Ref: j.Image, Digest: j.Digest}, j.Apply); err != nil {
		return nil, err
	}
	if nonce == "" {
		return nil, errOldAgent
	}
	n, err := trust.ParseNonce(nonce)
	if err != nil {
		return nil, err
	}
	return a.Catalog.Ticket(ctx, trust.Claims{Nonce: n, Machine: g.machine.MAC, Job: j.ID, Image: j.Digest, Plan: j.PlanDigest()})
}

// withhold fails a job whose machine must not have the image, before its agent
// looks for a disk, and returns what the agent is told.
func (a *AgentAPI) withhold(ctx context.Context, j *Job, why error) (reason string, err error) {
	a.log().Warn("job refused", "job", j.ID, "machine", j.Name, "image", j.Image, "err", why)
	_, err = a.Fleet.moveJob(ctx, j.ID, actorServer, func(c course) (course, error) {
		return c.finish(Failed, why.Error(), now())
	})
	return fmt.Sprintf("job %d has failed: %v", j.ID, why), err
}

// getCatalog hands out a file of the catalog to an agent that restores.
func (a *AgentAPI) getCatalog(w http.ResponseWriter, r *http.Request) {
	_, err := a.restoring(r)
	if err == nil && a.CatalogFiles == nil {
		err = fmt.Errorf("the server has no catalog: %w", ErrNotFound)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	files := http.StripPrefix("/api/v1/agent/catalog", a.CatalogFiles)
	files.ServeHTTP(&patientWriter{w, http.NewResponseController(w)}, r)
}

// A patientWriter sends an answer of any length, as long as somebody takes it.
type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

// Write implements io.Writer.
func (p *patientWriter) Write(b []byte) (int, error) {
	p.control.SetWriteDeadline(time.Now().Add(imagePatience)) // recorders of tests have none
	return p.ResponseWriter.Write(b)
}
