package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"slipcast/agent/wire"
)

const (
	agentPatience = 20 * time.Second // for a request and its answer, but an image
	imagePatience = 2 * time.Minute  // for the next bytes of an image
)

// An AgentAPI answers the agents: docs/boot.md, section 6.
type AgentAPI struct {
	Fleet    *Fleet
	Images   Images
	Sessions Sessions // nil: no multicast, every machine fetches by HTTPS

	// Catalog says what may be restored; nil: nothing.
	Catalog Catalog

	// CatalogFiles hands out the files of the catalog, metadata/NAME and
	// bundles/DIGEST.slb, to agents that restore; nil: there are none.
	CatalogFiles http.Handler

	// Tokenless gives jobs to agents that have no ticket, as from a boot.img.
	Tokenless bool

	// SharedUUIDs are as those of the [Director].
	SharedUUIDs []string

	Log *slog.Logger // nil: silence
}

// Handler returns what answers requests below /api/v1/agent/.
func (a *AgentAPI) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/agent/hello", a.answer(a.hello))
	mux.HandleFunc("POST /api/v1/agent/next", a.answer(a.next))
	mux.HandleFunc("POST /api/v1/agent/report", a.answer(a.report))
	mux.HandleFunc("PUT /api/v1/agent/image/{name}", a.answer(a.putImage))
	mux.HandleFunc("GET /api/v1/agent/catalog/", a.getCatalog)
	return mux
}

// Guard lets agents through to h, which hands out images below
// /api/v1/images/: each to the image that its job restores, while it does.
func (a *AgentAPI) Guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.mayFetch(r); err != nil {
			a.fail(w, r, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// mayFetch tells why the sender of a request does not get the image.
func (a *AgentAPI) mayFetch(r *http.Request) error {
	j, err := a.restoring(r)
	if err != nil {
		return err
	}
	if r.URL.Path != "/api/v1/images/"+j.Image+".img.zst" {
		return fmt.Errorf("job %d does not restore %q: %w", j.ID, wire.Plain(path.Base(r.URL.Path), 80), ErrState)
	}
	return nil
}

// restoring returns the job of the sender of a request, which must be a restore
// that is under way.
func (a *AgentAPI) restoring(r *http.Request) (Job, error) {
	s, err := a.session(r)
	if err != nil || s.job == 0 {
		return Job{}, cmp.Or(err, ErrToken)
	}
	j, err := a.Fleet.Job(r.Context(), s.job)
	if err == nil && (j.Kind != wire.Restore || j.State != Working) {
		err = fmt.Errorf("job %d restores nothing now: %w", j.ID, ErrState)
	}
	return j, err
}

func (a *AgentAPI) log() *slog.Logger { return logOr(a.Log) }

// logOr returns log, or silence for nil.
func logOr(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// answer makes a handler of what returns the object of an answer.
func (a *AgentAPI) answer(do func(w http.ResponseWriter, r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.SetReadDeadline(time.Now().Add(agentPatience)) // recorders of tests have none
		control.SetWriteDeadline(time.Now().Add(agentPatience))
		o, err := do(w, r)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, o)
	}
}

// fail answers with an error. What is wrong with the server itself goes into
// its log, not to strangers.
func (a *AgentAPI) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	text := err.Error()
	if status == http.StatusInternalServerError {
		a.log().Error("request failed", "path", r.URL.Path, "from", r.RemoteAddr, "err", err)
		text = "the server has a fault of its own; its log tells"
	}
	writeJSON(w, status, map[string]string{"error": text})
}

// statusOf returns the status for an error.
func statusOf(err error) int {
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest
	case errors.Is(err, ErrToken):
		return http.StatusForbidden
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrState), errors.Is(err, ErrConflict), errors.Is(err, ErrWindow), errors.Is(err, ErrNotReleased):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

// writeJSON answers with an object.
func writeJSON(w http.ResponseWriter, status int, o any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	fmt.Fprintln(w, mustJSON(o)) // who has gone needs nothing
}

// readJSON reads the body of a request.
func readJSON(w http.ResponseWriter, r *http.Request, v any) error {
	p, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
	if err != nil {
		return err
	}
	return decode(p, v)
}

// session returns what the token of a request stands for.
func (a *AgentAPI) session(r *http.Request) (agentSession, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || len(token) > 128 {
		return agentSession{}, ErrToken
	}
	return a.Fleet.session(r.Context(), token)
}

func (a *AgentAPI) hello(w http.ResponseWriter, r *http.Request) (any, error) {
	g := greeting{tokenless: a.Tokenless, shared: a.SharedUUIDs}
	if err := readJSON(w, r, &g.hello); err != nil {
		return nil, err
	}
	if g.hello.Schema != wire.Schema {
		return nil, fmt.Errorf("%w: schema %d, this server has %d", ErrMalformed, g.hello.Schema, wire.Schema)
	}
	if err := errors.Join(checkNonce(g.hello.Nonce), cleanInventory(&g.hello.Inventory)); err != nil {
		return nil, err
	}
	if err := a.Fleet.greet(r.Context(), &g); err != nil {
		if errors.Is(err, ErrToken) {
			a.log().Warn("hello refused", "mac", g.hello.Inventory.MAC, "from", r.RemoteAddr, "err", err)
		}
		return nil, err
	}
	a.log().Info("hello", "machine", g.machine.Name, "mac", g.machine.MAC, "from", r.RemoteAddr, "reason", g.reason)
	return a.welcome(r.Context(), &g, g.hello.Nonce)
}

func (a *AgentAPI) next(w http.ResponseWriter, r *http.Request) (any, error) {
	s, err := a.session(r)
	if err != nil {
		return nil, err
	}
	var n wire.Next
	if err := readJSON(w, r, &n); err != nil {
		return nil, err
	}
	if err := checkNonce(n.Nonce); err != nil {
		return nil, err
	}
	g, err := a.Fleet.next(r.Context(), s)
	if err != nil {
		return nil, err
	}
	answer, err := a.welcome(r.Context(), &g, n.Nonce)
	if answer != nil && answer.Job == nil {
		answer.End = wire.Stay
	}
	return answer, err
}

// welcome returns the answer to a hello, with the session that brings the
// image. Without one it goes by HTTPS, and the history tells.
func (a *AgentAPI) welcome(ctx context.Context, g *greeting, nonce string) (*wire.Welcome, error) {
	answer := &wire.Welcome{Schema: wire.Schema, Machine: g.machine.Name, Token: g.token, Time: now()}
	if g.job == nil {
		answer.End, answer.Reason = wire.Reboot, g.reason
		return answer, nil
	}
	j, err := a.Fleet.wireJob(ctx, g.job, &g.machine)
	if err != nil {
		return nil, err
	}
	answer.Proof, err = a.prove(ctx, g, j, nonce)
	if errors.Is(err, ErrNotReleased) || errors.Is(err, ErrNotFound) {
		answer.End = wire.Reboot
		answer.Reason, err = a.withhold(ctx, g.job, err)
		return answer, err
	}
	if err != nil {
		return nil, err
	}
	j.Silent = int64(g.silent.Seconds())
	answer.Job = j
	if a.Sessions == nil || !g.job.Options.Multicast {
		return answer, nil
	}
	session, err := startSession(ctx, a.Fleet, a.Sessions, g.job)
	if err != nil {
		a.log().Warn("no multicast session, the image goes by HTTPS", "machine", g.machine.Name, "image", j.Image, "err", err)
		return answer, nil
	}
	j.Session = &session
	return answer, nil
}

// startSession asks for the session of a job's batch.
func startSession(ctx context.Context, f *Fleet, s Sessions, j *Job) (wire.Session, error) {
	room, err := f.room(ctx, j.Batch)
	if err != nil {
		return wire.Session{}, err
	}
	memory, err := f.memory(ctx, j.Batch)
	if err != nil {
		return wire.Session{}, err
	}
	return s.Session(ctx, j.Batch, Cargo{Image{j.Image, j.Digest, j.Need}, j.Options.Apply, memory}, room)
}

func (a *AgentAPI) report(w http.ResponseWriter, r *http.Request) (any, error) {
	s, err := a.session(r)
	if err != nil {
		return nil, err
	}
	var rep wire.Report
	if err := readJSON(w, r, &rep); err != nil {
		return nil, err
	}
	if err := cleanReport(&rep); err != nil {
		return nil, err
	}
	reply, over, err := a.Fleet.report(r.Context(), s, &rep)
	if err != nil {
		return nil, err
	}
	if over {
		a.log().Info("job is over", "job", rep.Job, "state", string(rep.State), "err", rep.Error)
		return reply, a.endSession(r.Context(), s.job)
	}
	return reply, nil
}

// endSession ends the session of a batch whose last job is over.
func (a *AgentAPI) endSession(ctx context.Context, id int64) error {
	if a.Sessions == nil {
		return nil
	}
	j, err := a.Fleet.Job(ctx, id)
	if err != nil {
		return err
	}
	if room, err := a.Fleet.room(ctx, j.Batch); err != nil || room != (Room{}) {
		return err
	}
	a.Sessions.Over(j.Batch)
	return nil
}

// putImage reads the image that the job of an agent captures.
func (a *AgentAPI) putImage(w http.ResponseWriter, r *http.Request) (any, error) {
	s, err := a.session(r)
	if err != nil {
		return nil, err
	}
	j, err := a.Fleet.Job(r.Context(), s.job)
	if err != nil {
		return nil, err
	}
	if name := r.PathValue("name"); j.Kind != wire.Capture || j.State != Working || j.Image != name {
		return nil, fmt.Errorf("job %d does not capture %q now: %w", j.ID, wire.Plain(name, 80), ErrState)
	}
	control := http.NewResponseController(w)
	im, err := a.Images.Put(r.Context(), j.Image, &patientReader{r.Body, control})
	control.SetWriteDeadline(time.Now().Add(agentPatience))
	if err != nil {
		return nil, fmt.Errorf("storing %s: %w", j.Image, err)
	}
	a.log().Info("image captured", "job", j.ID, "machine", j.Name, "image", im.Ref)
	return im, nil
}

// A patientReader reads a body of any length, as long as something comes.
type patientReader struct {
	r       io.Reader
	control *http.ResponseController
}

// Read implements io.Reader.
func (p *patientReader) Read(b []byte) (int, error) {
	p.control.SetReadDeadline(time.Now().Add(imagePatience))
	return p.r.Read(b)
}
