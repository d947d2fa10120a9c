package fleet

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"slipcast/agent/wire"
)

//go:embed page.html
var pageHTML string

// operatorPatience is how long a browser may take to send a request, or to
// take an answer or an event.
const operatorPatience = 10 * time.Second

// An OperatorAPI answers people and programs, and has the status page:
// docs/boot.md, section 10. Its fields must not change once it is in use.
type OperatorAPI struct {
	Fleet   *Fleet
	Images  Images
	Catalog Catalog // that says what may be restored; nil: nothing
	Wake    Waker   // nil: this server wakes nobody

	// Notices returns what the operator must know, a line each: what of the
	// catalog expires, or is broken. It may be nil, and is called from many
	// goroutines.
	Notices func() []string

	Token     string       // of the operator; empty: nobody may change anything
	ReadToken string       // to read; empty: everybody may
	Log       *slog.Logger // nil: silence

	once sync.Once
	door doorkeeper
	live live
}

// Handler returns what answers requests for the page and below /api/v1/, but
// for /api/v1/agent/. The stream of events lasts as long as the request's
// context: a server that is to shut down gracefully ends that first.
func (o *OperatorAPI) Handler() http.Handler {
	o.once.Do(func() {
		o.door.token, o.door.readToken = o.Token, o.ReadToken
		o.live.fleet = o.Fleet
	})
	mux := http.NewServeMux()
	policy := ContentPolicy(pageHTML)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, pageHTML) // who has gone needs nothing
	})
	for pattern, do := range map[string]operation{
		"GET /api/v1/machines":            o.listMachines,
		"GET /api/v1/machines/{id}":       o.showMachine,
		"PATCH /api/v1/machines/{id}":     o.setMachine,
		"DELETE /api/v1/machines/{id}":    o.forgetMachine,
		"POST /api/v1/machines/{id}/wake": o.wakeMachine,
		"GET /api/v1/jobs":                o.listJobs,
		"GET /api/v1/jobs/{id}":           o.showJob,
		"POST /api/v1/jobs":               o.createJobs,
		"POST /api/v1/jobs/{id}/cancel":   o.cancelJob,
		"POST /api/v1/jobs/{id}/retry":    o.retryJob,
		"POST /api/v1/jobs/{id}/disk":     o.answerJob,
		"GET /api/v1/images":              o.listImages,
		"GET /api/v1/compliance":          o.listCompliance,
		"GET /api/v1/notices":             o.listNotices,
	} {
		mux.HandleFunc(pattern, o.handle(do))
	}
	mux.HandleFunc("GET /api/v1/events", o.events)
	mux.HandleFunc("GET /api/v1/signin", o.whoami)
	mux.HandleFunc("POST /api/v1/signin", o.signIn)
	mux.HandleFunc("POST /api/v1/signout", o.signOut)
	return protect(mux)
}

// protect bounds the time of requests, and says what browsers may do with the
// answers.
func protect(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		control := http.NewResponseController(w)
		control.SetReadDeadline(time.Now().Add(operatorPatience)) // recorders of tests have none
		control.SetWriteDeadline(time.Now().Add(operatorPatience))
		h.ServeHTTP(w, r)
	})
}

// ContentPolicy returns the Content-Security-Policy of a page of HTML, which
// lets it use its own style and script elements, one of each and without
// attributes, and pictures that are in it, and ask its own server, and nothing
// else: Content Security Policy Level 3.
func ContentPolicy(page string) string {
	return fmt.Sprintf("default-src 'none'; img-src data:; style-src %s; script-src %s; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		inlineHash(page, "style"), inlineHash(page, "script"))
}

// inlineHash returns the source expression of an element's contents.
func inlineHash(page, element string) string {
	_, rest, _ := strings.Cut(page, "<"+element+">")
	contents, _, _ := strings.Cut(rest, "</"+element+">")
	sum := sha256.Sum256([]byte(contents))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// An operation is a request of somebody who may make it; by is who. body is
// empty for a GET.
type operation func(ctx context.Context, r *http.Request, body []byte, by string) (map[string]any, error)

// errCross reports a request that a page of somebody else may have sent.
var errCross = errors.New("a request that changes something needs the header X-Slipcast")

// handle makes a handler of an operation: it asks who it is, and answers.
func (o *OperatorAPI) handle(do operation) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		by, err := o.admit(r)
		if err != nil {
			o.fail(w, r, err)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxBody))
		if err != nil {
			o.fail(w, r, err)
			return
		}
		answer, err := do(r.Context(), r, body, by)
		if err != nil {
			o.fail(w, r, err)
			return
		}
		answer["schema"] = wire.Schema
		writeJSON(w, http.StatusOK, answer)
	}
}

// admit returns who sends a request, if he may. What a browser sends with a
// cookie must have a header besides, that pages of others cannot send.
func (o *OperatorAPI) admit(r *http.Request) (by string, err error) {
	have, err := o.door.right(r)
	if err != nil {
		return "", err
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if have < reads {
			return "", errSignIn
		}
		return "", nil
	}
	if have < writes {
		return "", errSignIn
	}
	if r.Header.Get("Authorization") == "" {
		if r.Header.Get("X-Slipcast") == "" {
			return "", errCross
		}
		return "the status page, " + remote(r).String(), nil
	}
	return "the API, " + remote(r).String(), nil
}

// errSignIn reports somebody who has not said who he is.
var errSignIn = errors.New("sign in first, or send the operator's token")

// fail answers with an error.
func (o *OperatorAPI) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := statusOf(err)
	text := err.Error()
	switch {
	case errors.Is(err, errSignIn):
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "Bearer")
	case errors.Is(err, errCross):
		status = http.StatusForbidden
	case errors.Is(err, errTired):
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "60")
	case status == http.StatusInternalServerError:
		logOr(o.Log).Error("request failed", "path", r.URL.Path, "from", r.RemoteAddr, "err", err)
		text = "the server has a fault of its own; its log tells"
	}
	writeJSON(w, status, map[string]string{"error": text})
}

func (o *OperatorAPI) listMachines(ctx context.Context, _ *http.Request, _ []byte, _ string) (map[string]any, error) {
	list, err := o.Fleet.Machines(ctx)
	return map[string]any{"machines": list}, err
}

func (o *OperatorAPI) showMachine(ctx context.Context, r *http.Request, _ []byte, _ string) (map[string]any, error) {
	m, err := o.Fleet.Machine(ctx, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	events, err := o.Fleet.Events(ctx, m.ID, maxEvents)
	return map[string]any{"machine": m, "events": events}, err
}

func (o *OperatorAPI) setMachine(ctx context.Context, r *http.Request, body []byte, by string) (map[string]any, error) {
	var c Change
	if err := decode(body, &c); err != nil {
		return nil, err
	}
	m, err := o.Fleet.Machine(ctx, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	m, err = o.Fleet.SetMachine(ctx, m.ID, c, by)
	return map[string]any{"machine": m}, err
}

func (o *OperatorAPI) forgetMachine(ctx context.Context, r *http.Request, _ []byte, _ string) (map[string]any, error) {
	m, err := o.Fleet.Machine(ctx, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return map[string]any{}, o.Fleet.ForgetMachine(ctx, m.ID)
}

func (o *OperatorAPI) wakeMachine(ctx context.Context, r *http.Request, _ []byte, _ string) (map[string]any, error) {
	m, err := o.Fleet.Machine(ctx, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if o.Wake == nil {
		return nil, fmt.Errorf("this server wakes no machines: %w", ErrState)
	}
	return map[string]any{}, wakeMachine(ctx, o.Wake, &m)
}

func (o *OperatorAPI) listJobs(ctx context.Context, r *http.Request, _ []byte, _ string) (map[string]any, error) {
	query := r.URL.Query()
	id := ""
	if which := query.Get("machine"); which != "" {
		m, err := o.Fleet.Machine(ctx, which)
		if err != nil {
			return nil, err
		}
		id = m.ID
	}
	list, err := o.Fleet.Jobs(ctx, id, query.Get("open") != "", 1000)
	return map[string]any{"jobs": list}, err
}

// jobNumber returns the number in the path of a request.
func jobNumber(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("job %q: %w", wire.Plain(r.PathValue("id"), 40), ErrNotFound)
	}
	return id, nil
}

func (o *OperatorAPI) showJob(ctx context.Context, r *http.Request, _ []byte, _ string) (map[string]any, error) {
	id, err := jobNumber(r)
	if err != nil {
		return nil, err
	}
	j, err := o.Fleet.Job(ctx, id)
	if err != nil {
		return nil, err
	}
	lines, err := o.Fleet.Lines(ctx, id, maxLines)
	return map[string]any{"job": j, "lines": lines}, err
}

// A jobRequest is what somebody posts to have jobs made.
type jobRequest struct {
	Options
	Kind      wire.Kind `json:"kind"`
	Machines  []string  `json:"machines"` // id, name, MAC address or UUID
	Image     string    `json:"image"`    // NAME[@VERSION] to restore, NAME to capture to
	Answer    string    `json:"answer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

func (o *OperatorAPI) createJobs(ctx context.Context, _ *http.Request, body []byte, by string) (map[string]any, error) {
	var req jobRequest
	if err := decode(body, &req); err != nil {
		return nil, err
	}
	order := Order{
		Kind: req.Kind, Options: req.Options, Answer: req.Answer, NotBefore: req.NotBefore, NotAfter: req.NotAfter, By: by,
		Image: Image{Ref: wire.Plain(req.Image, wire.MaxField)},
	}
	if req.Kind == wire.Restore && req.Image != "" {
		im, err := o.Images.Resolve(ctx, req.Image)
		if err != nil {
			return nil, fmt.Errorf("image %q: %w: %v", wire.Plain(req.Image, 80), ErrNotFound, err)
		}
		order.Image = im
	}
	for _, which := range req.Machines {
		m, err := o.Fleet.Machine(ctx, which)
		if err != nil {
			return nil, err
		}
		order.Machines = append(order.Machines, m.ID)
	}
	if order.Image.Digest != "" {
		if err := allows(ctx, o.Catalog, order.Image, order.Options.Apply); err != nil {
			return nil, err
		}
	}
	jobs, err := o.Fleet.Create(ctx, order)
	return map[string]any{"jobs": jobs}, err
}

func (o *OperatorAPI) cancelJob(ctx context.Context, r *http.Request, _ []byte, by string) (map[string]any, error) {
	return changeJob(r, func(id int64) (Job, error) { return o.Fleet.Cancel(ctx, id, by) })
}

func (o *OperatorAPI) retryJob(ctx context.Context, r *http.Request, _ []byte, by string) (map[string]any, error) {
	return changeJob(r, func(id int64) (Job, error) { return o.Fleet.Retry(ctx, id, by) })
}

func (o *OperatorAPI) answerJob(ctx context.Context, r *http.Request, body []byte, by string) (map[string]any, error) {
	var answer struct {
		Disk string `json:"disk"`
	}
	if err := decode(body, &answer); err != nil {
		return nil, err
	}
	return changeJob(r, func(id int64) (Job, error) { return o.Fleet.Answer(ctx, id, answer.Disk, by) })
}

// changeJob does something to the job that a request names.
func changeJob(r *http.Request, do func(id int64) (Job, error)) (map[string]any, error) {
	id, err := jobNumber(r)
	if err != nil {
		return nil, err
	}
	j, err := do(id)
	return map[string]any{"job": j}, err
}

func (o *OperatorAPI) listImages(ctx context.Context, _ *http.Request, _ []byte, _ string) (map[string]any, error) {
	list, err := o.Images.List(ctx)
	return map[string]any{"images": list}, err
}

func (o *OperatorAPI) listCompliance(ctx context.Context, r *http.Request, _ []byte, _ string) (map[string]any, error) {
	list, err := o.Fleet.Compliance(ctx, r.URL.Query().Get("machine"))
	return map[string]any{"machines": list}, err
}

func (o *OperatorAPI) listNotices(context.Context, *http.Request, []byte, string) (map[string]any, error) {
	list := []string{}
	if o.Notices != nil {
		list = append(list, o.Notices()...)
	}
	return map[string]any{"notices": list}, nil
}

// whoami tells a browser what it may do.
func (o *OperatorAPI) whoami(w http.ResponseWriter, r *http.Request) {
	have, err := o.door.right(r)
	if err != nil {
		o.fail(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"schema": wire.Schema, "reads": have >= reads, "writes": have >= writes})
}

// signIn gives a browser a cookie for the token.
func (o *OperatorAPI) signIn(w http.ResponseWriter, r *http.Request) {
	var who struct {
		Token string `json:"token"`
	}
	if r.Header.Get("X-Slipcast") == "" {
		o.fail(w, r, errCross)
		return
	}
	if err := readJSON(w, r, &who); err != nil {
		o.fail(w, r, err)
		return
	}
	have, err := o.door.check(r, strings.TrimSpace(who.Token))
	if err != nil {
		logOr(o.Log).Warn("sign-in refused", "from", r.RemoteAddr, "err", err)
		o.fail(w, r, err)
		return
	}
	http.SetCookie(w, o.door.cookie(r, have))
	writeJSON(w, http.StatusOK, map[string]any{"schema": wire.Schema, "reads": true, "writes": have >= writes})
}

// signOut takes the cookie away.
func (o *OperatorAPI) signOut(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
	writeJSON(w, http.StatusOK, map[string]any{"schema": wire.Schema})
}
