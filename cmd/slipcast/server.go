package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"slipcast/catalog/depot"
	"slipcast/fleet"
	"slipcast/image"
	"slipcast/image/store"
	"slipcast/pxe"
)

// A server is slipcast serve: the parts that it wires, each of which knows
// nothing of the others.
type server struct {
	env *env
	opt serveOptions
	log *slog.Logger

	address     netip.Prefix // ours
	key         *serverKey
	token       string // the operator's
	mirrorToken string // of other servers, which mirror the store
	fleet       *fleet.Fleet
	store       *store.Store
	catalog     *serveCatalog
	sessions    *serveSessions
	boot        *pxe.Server
}

// serverLog returns where a server logs: lines for people, objects with
// --json.
func (e *env) serverLog() *slog.Logger {
	opt := &slog.HandlerOptions{}
	if e.quiet {
		opt.Level = slog.LevelWarn
	}
	if e.json {
		return slog.New(slog.NewJSONHandler(e.stderr, opt))
	}
	return slog.New(slog.NewTextHandler(e.stderr, opt))
}

// serve opens all parts, and serves or checks.
func (s *server) serve(ctx context.Context) (err error) {
	if err := s.locate(); err != nil {
		return err
	}
	if s.key, err = s.openKey(); err != nil {
		return err
	}
	if s.boot, err = s.newBoot(); err != nil {
		return err
	}
	if s.opt.check {
		return s.check(ctx)
	}
	release, err := s.claim()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if err := s.openState(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.fleet.Close()) }()
	if s.store, err = openOrInit(s.opt.store); err != nil {
		return err
	}
	s.catalog = &serveCatalog{dir: filepath.Join(s.opt.store, catalogFolder), online: s.opt.onlineFile(), log: s.log}
	s.boot.Director = &fleet.Director{
		Fleet: s.fleet, Servers: []string{s.url()}, Pin: s.key.pin, IgnoreUnknown: s.opt.unknown == unknownIgnore,
		SharedUUIDs: s.opt.sharedUUIDs, Catalog: s.catalog,
	}
	return s.run(ctx)
}

// locate finds out which network is served.
func (s *server) locate() (err error) {
	if s.opt.iface == "" {
		if s.opt.iface, err = defaultInterface(); err != nil {
			return err
		}
	}
	if s.address, err = pxe.Locate(s.opt.iface); err != nil {
		return usagef("%w; --interface takes one that has an IPv4 address: %s", err, strings.Join(servable(), ", "))
	}
	return nil
}

// servable returns the interfaces whose networks can be served.
func servable() []string {
	ifis, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var names []string
	for _, i := range ifis {
		if _, err := pxe.Locate(i.Name); err == nil && i.Flags&net.FlagLoopback == 0 {
			names = append(names, i.Name)
		}
	}
	return names
}

// claim makes this the only server with its state folder, until it ends: two
// would give the same addresses twice.
func (s *server) claim() (release func() error, err error) {
	f, err := os.OpenFile(filepath.Join(s.opt.state, "serve.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		who := make([]byte, 16)
		n, _ := f.ReadAt(who, 0) // what it reads is for people
		f.Close()
		return nil, fmt.Errorf("%s is the state folder of another slipcast serve (process %s); stop it, or give this one a folder by --state",
			s.opt.state, plain(strings.TrimSpace(string(who[:n])), len(who)))
	}
	_, err = f.WriteAt(fmt.Appendf(nil, "%-15d\n", os.Getpid()), 0)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// openKey returns who this server is.
func (s *server) openKey() (*serverKey, error) {
	key, err := openServerKey(s.opt.state)
	if err != nil || s.opt.tlsKey == "" {
		return key, err
	}
	given, err := loadServerKey(s.opt.tlsKey, s.opt.tlsCert)
	if err != nil {
		return nil, err
	}
	given.secret = key.secret // a certificate is renewed, sessions go on
	return given, nil
}

// newBoot returns the boot server.
func (s *server) newBoot() (*pxe.Server, error) {
	o := &s.opt
	b := &pxe.Server{
		Interface: o.iface, Address: s.address, Folder: o.bootDir(), Director: nobody{}, Mode: pxe.Mode(o.dhcp),
		ProxyRequest: o.proxyRequest, State: o.state, Loader: pxe.Loader(o.loader), Args: o.args,
		Ports: pxe.Ports{HTTP: o.http}, Log: s.log,
	}
	var err error
	if o.pool != "" {
		if b.Pool, err = pxe.ParsePool(o.pool); err != nil {
			return nil, usagef("--pool: %w", err)
		}
	}
	for _, text := range o.networks {
		n, err := netip.ParsePrefix(text)
		if err != nil || !n.Addr().Is4() {
			return nil, usagef("--networks: %q is no IPv4 network, like 10.0.6.0/24", text)
		}
		b.Networks = append(b.Networks, n)
	}
	if o.router != "" {
		if b.Router, err = netip.ParseAddr(o.router); err != nil {
			return nil, usagef("--router: %w", err)
		}
	}
	for _, text := range o.dns {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, usagef("--dns: %w", err)
		}
		b.DNS = append(b.DNS, a)
	}
	return b, nil
}

// bootDir returns the boot folder.
func (o *serveOptions) bootDir() string {
	if o.boot != "" {
		return o.boot
	}
	return filepath.Join(o.state, "boot")
}

// onlineFile returns the file of the online key.
func (o *serveOptions) onlineFile() string {
	return cmp.Or(o.onlineKey, filepath.Join(o.state, onlineFile))
}

// onlineFile is the name of the online key in the state folder.
const onlineFile = "online.key"

// nobody directs no machine; a check needs a director that is not asked.
type nobody struct{}

// Direct implements pxe.Director.
func (nobody) Direct(context.Context, pxe.Client) (pxe.Decision, error) {
	return pxe.Decision{}, nil
}

// Offer implements pxe.Director.
func (nobody) Offer(context.Context, pxe.Client) ([]pxe.File, error) {
	return nil, errors.New("nobody is served")
}

// openState opens the database and reads the operator's token.
func (s *server) openState(ctx context.Context) (err error) {
	if s.token, err = fleet.OperatorToken(s.opt.state); err != nil {
		return err
	}
	if s.mirrorToken, err = fleet.MirrorToken(s.opt.state); err != nil {
		return err
	}
	s.fleet, err = fleet.Open(ctx, filepath.Join(s.opt.state, fleet.File))
	return err
}

// openOrInit opens the store in dir, and makes one where nothing is.
func openOrInit(dir string) (*store.Store, error) {
	s, err := store.Open(dir)
	if !errors.Is(err, store.ErrNotStore) || exists(dir) {
		return s, err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, err
	}
	return store.Init(dir)
}

// url returns where agents and browsers reach the server.
func (s *server) url() string {
	return "https://" + netip.AddrPortFrom(s.address.Addr(), s.opt.https).String()
}

// run serves until ctx ends, and then ends what is under way.
func (s *server) run(ctx context.Context) error {
	s.sessions = newServeSessions(s.key, s.log)
	s.sessions.open, s.sessions.address, s.sessions.iface = s.openStored, s.address.Addr(), s.opt.iface
	s.sessions.annex = s.catalog.annex
	s.sessions.rate, s.sessions.gather = int64(s.opt.rate), s.opt.gather
	defer s.sessions.Close()
	images := s.store.Handler()
	defer images.Close()
	listener, err := s.listenHTTPS()
	if err != nil {
		return err
	}
	for _, f := range s.boot.Check(ctx) {
		s.logFinding(f)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.boot.Serve(gctx) })
	g.Go(func() error { return s.serveHTTPS(gctx, listener, s.handler(images)) })
	keeper := &fleet.Keeper{Fleet: s.fleet, Sessions: s.sessions, Wake: s.wake, Log: s.log}
	g.Go(func() error { return keeper.Serve(gctx) })
	g.Go(func() error { return s.catalog.Serve(gctx) })
	g.Go(func() error { return logTrouble(gctx, s.log, s.boot.Stats) })
	s.log.Info("status page", "url", s.url(), "token", filepath.Join(s.opt.state, fleet.TokenFile))
	err = g.Wait()
	s.log.Info("network boot has ended", statAttrs(s.boot.Stats())...)
	return err
}

// openStored opens an image of the store for a session.
func (s *server) openStored(ref string) (*image.Image, func() error, error) {
	r, err := store.ParseRef(ref)
	if err != nil {
		return nil, nil, err
	}
	im, err := s.store.OpenImage(r)
	if err != nil {
		return nil, nil, err
	}
	return im.Assembled.Image, im.Close, nil
}

// wake switches a machine on.
func (s *server) wake(ctx context.Context, mac net.HardwareAddr) error {
	return pxe.Wake(ctx, mac, pxe.WakeOptions{Interface: s.opt.iface})
}

// handler returns what answers HTTPS: agents, operators and browsers.
func (s *server) handler(images http.Handler) http.Handler {
	agents := &fleet.AgentAPI{
		Fleet: s.fleet, Images: storeImages{s.store}, Sessions: s.sessions, Tokenless: s.opt.tokenless, SharedUUIDs: s.opt.sharedUUIDs,
		Catalog: s.catalog, CatalogFiles: s.catalog, Log: s.log,
	}
	operators := &fleet.OperatorAPI{
		Fleet: s.fleet, Images: storeImages{s.store}, Catalog: s.catalog, Notices: s.catalog.Notices, Wake: s.wake, Token: s.token, Log: s.log,
	}
	if s.opt.private {
		operators.ReadToken = s.token
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/agent/", agents.Handler())
	mux.Handle("/api/v1/images/", agents.Guard(http.StripPrefix("/api/v1/images", images)))
	mux.Handle("/store/", fleet.Bearer(s.mirrorToken, http.StripPrefix("/store", depot.Handler(s.store.Dir()))))
	mux.Handle("/", operators.Handler())
	return mux
}

// listenHTTPS opens the port of agents and browsers.
func (s *server) listenHTTPS() (net.Listener, error) {
	l, err := net.Listen("tcp", ":"+strconv.Itoa(int(s.opt.https)))
	if err != nil {
		return nil, pxe.ExplainPort("tcp", s.opt.https, err)
	}
	return pxe.NewDoor(l, httpsConns, httpsPerAddr), nil
}

// httpsFarewell is how long requests may take to end when the server goes
// down. Agents try again.
const httpsFarewell = 2 * time.Second

// serveHTTPS answers until ctx ends.
func (s *server) serveHTTPS(ctx context.Context, l net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		TLSConfig:   &tls.Config{Certificates: []tls.Certificate{s.key.cert}, MinVersion: tls.VersionTLS12},
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // scanners and browsers that distrust the certificate
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ServeTLS(l, "", "") }() // awaited below
	select {
	case err := <-failed:
		return fmt.Errorf("HTTPS: %w", err)
	case <-ctx.Done():
	}
	farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), httpsFarewell)
	defer cancel()
	if server.Shutdown(farewell) != nil {
		server.Close()
	}
	<-failed
	return nil
}

// How many connections there are at a time, in all and from one address: some
// for each machine of the largest room, and for those who look on.
const (
	httpsConns   = 4096
	httpsPerAddr = 128
)
