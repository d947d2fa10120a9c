package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"slipcast/catalog/trust"
	"slipcast/fleet"
)

// A serveCatalog is the catalog of the store that serve hands out. It follows
// what others do to the folder, also that there is a catalog at last. It is safe
// for concurrent use.
type serveCatalog struct {
	dir    string // of the catalog
	online string // file of the online key
	log    *slog.Logger

	mu      sync.Mutex
	loaded  *trust.Catalog
	at      stamp // of the folder when it was loaded
	notices []string
}

var _ fleet.Catalog = (*serveCatalog)(nil)

// A stamp tells whether a folder has changed. It is the zero value if that is
// not certain.
type stamp struct {
	changed time.Time
	size    int64
}

// certain is how old a change must be for its time to tell it from the next:
// kernels count in ticks, and some file systems in seconds.
const certain = 3 * time.Second

// stampOf returns the stamp of the metadata, in whose folder every change of
// them is a rename.
func (c *serveCatalog) stampOf() stamp {
	info, err := os.Stat(filepath.Join(c.dir, "metadata"))
	if err != nil || time.Since(info.ModTime()) < certain {
		return stamp{}
	}
	return stamp{info.ModTime(), info.Size()}
}

// repository opens the catalog.
func (c *serveCatalog) repository() (*trust.Repository, error) {
	r, err := trust.OpenRepository(c.dir)
	if errors.Is(err, trust.ErrNotCatalog) {
		return nil, errNoCatalog
	}
	return r, err
}

// current returns the catalog that is signed and has not expired.
func (c *serveCatalog) current(ctx context.Context) (*trust.Catalog, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.stampOf()
	if c.loaded != nil && at == c.at && at != (stamp{}) && time.Now().Before(c.loaded.Expires) {
		return c.loaded, nil
	}
	r, err := c.repository()
	if err != nil {
		return nil, err
	}
	root, err := r.Root(ctx)
	if err != nil {
		return nil, err
	}
	loaded, err := trust.Load(ctx, r.Source(), trust.LoadOptions{Root: root.Encode()})
	if errors.Is(err, trust.ErrExpired) {
		return nil, &notReleased{fmt.Sprintf("the catalog: %v", err), "slipcast catalog refresh, or release, signs it anew"}
	}
	if err != nil {
		return nil, fmt.Errorf("the catalog in %s: %w", c.dir, err)
	}
	c.loaded, c.at = loaded, at
	return loaded, nil
}

// Root implements fleet.Catalog.
func (c *serveCatalog) Root(ctx context.Context) ([]byte, error) {
	r, err := c.repository()
	if errors.Is(err, fleet.ErrNotReleased) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	root, err := r.Root(ctx)
	if err != nil {
		return nil, fmt.Errorf("the catalog in %s: %w", c.dir, err)
	}
	return root.Encode(), nil
}

// Allows implements fleet.Catalog.
func (c *serveCatalog) Allows(ctx context.Context, im fleet.Image, apply []string) error {
	catalog, err := c.current(ctx)
	if err != nil {
		return err
	}
	return allowed(catalog, im, apply)
}

// Ticket implements fleet.Catalog.
func (c *serveCatalog) Ticket(ctx context.Context, claims trust.Claims) ([]byte, error) {
	catalog, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	key, err := c.key()
	if err != nil {
		return nil, &notReleased{fmt.Sprintf("the server cannot sign that machines may have it: %v", err), onlineWay}
	}
	claims.Time, claims.Versions = time.Now(), catalog.Versions
	ticket, err := trust.SignTicket(claims, key)
	if err != nil {
		return nil, err
	}
	if _, err := catalog.Root.VerifyTicket(ticket, claims.Nonce, claims.Machine); err != nil {
		return nil, &notReleased{fmt.Sprintf("the key in %s is not the online key of the catalog: %v", c.online, err), onlineWay}
	}
	return ticket, nil
}

const onlineWay = "slipcast catalog init makes the online key; serve --online-key says where it is"

// key reads the online key, which may have been renewed.
func (c *serveCatalog) key() (*trust.SecretKey, error) {
	text, err := readBoundedFile(c.online, 64<<10)
	if err != nil {
		return nil, err
	}
	key, err := trust.ParseSecretKey(text, func() (string, error) {
		return "", errors.New("it has a passphrase, and serve has nobody to ask for it")
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.online, err)
	}
	return key, nil
}

// How often a serveCatalog looks whether somebody has changed the folder, and
// whether something is due though nobody has.
const (
	tendEvery = 5 * time.Second
	tendDue   = time.Hour
)

// Serve signs the catalog anew when that is due, and what others have released,
// and keeps the notices, until ctx is done; then it returns nil.
func (c *serveCatalog) Serve(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	var seen stamp
	var last time.Time
	for {
		if at := c.stampOf(); at != seen || at == (stamp{}) || time.Since(last) >= tendDue {
			c.note(c.tend(ctx))
			seen, last = c.stampOf(), time.Now()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// tend signs what is due, and returns what the operator must know.
func (c *serveCatalog) tend(ctx context.Context) (notices []string) {
	r, err := c.repository()
	if err != nil {
		return []string{"nothing can be restored: " + err.Error()}
	}
	key, err := c.key()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		notices = append(notices, fmt.Sprintf("nothing can be restored: the online key is not in %s", c.online))
	case err != nil:
		notices = append(notices, fmt.Sprintf("nothing can be restored: the online key: %v", err))
	default:
		done, err := r.Refresh(ctx, key)
		if err != nil && ctx.Err() == nil {
			notices = append(notices, fmt.Sprintf("the catalog was not signed anew: %v", err))
		}
		if done.Snapshot || done.Timestamp {
			c.log.Info("catalog signed anew", "targets", done.Versions.Targets, "snapshot", done.Versions.Snapshot, "timestamp", done.Versions.Timestamp)
		}
	}
	status, err := r.Status(ctx)
	if err != nil {
		return append(notices, fmt.Sprintf("the catalog: %v", err))
	}
	return append(notices, expiries(status, time.Now())...)
}

// expiries tells what of a catalog has expired, or will before long.
func expiries(s *trust.Status, now time.Time) (notices []string) {
	if s.Pending {
		notices = append(notices, "what was released last counts when the online key has signed it")
	}
	for _, role := range s.Roles {
		switch {
		case role.Version == 0 || !role.Due:
		case role.Expired(now):
			notices = append(notices, fmt.Sprintf("nothing can be restored: the catalog's %s expired at %s; %s", role.Role, clock(role.Expires), renewal(role.Role)))
		default:
			notices = append(notices, fmt.Sprintf("the catalog's %s expires at %s; %s", role.Role, clock(role.Expires), renewal(role.Role)))
		}
	}
	return notices
}

// note keeps the notices, and logs those that are new.
func (c *serveCatalog) note(notices []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, text := range notices {
		if !slices.Contains(c.notices, text) {
			c.log.Warn("catalog", "about", text)
		}
	}
	c.notices = notices
}

// Notices returns what the operator must know, a line each.
func (c *serveCatalog) Notices() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.notices)
}
