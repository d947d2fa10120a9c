package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

const (
	maxRelease = 4 << 20 // largest release file; trixie's is 140 KB
	maxPackage = 2 << 30 // largest package
)

// A Source says where packages are to come from. Only Cache must be set.
type Source struct {
	// Mirror is where the suites are, http://deb.debian.org/debian if "".
	Mirror string

	// Security is where the suites are whose names end in -security,
	// http://deb.debian.org/debian-security if "".
	Security string

	// Suites are the suites to look into: trixie, trixie-updates and
	// trixie-security if there are none. The newest version of a package in
	// any of them is taken.
	Suites []string

	// Components are main and non-free-firmware if there are none.
	Components []string

	// Arch is the architecture in Debian's words, "amd64" if "".
	Arch string

	// Keyring is a file of OpenPGP keys, one of which must have signed each
	// suite. If it is "", the host's keyring of the Debian archive is used.
	Keyring string

	// Cache is the folder that downloads are kept in. It is made if there is
	// none. Several processes may use it at once.
	Cache string

	Client   *http.Client      // nil: one that heeds http_proxy and gives up after a minute of silence
	Log      *slog.Logger      // told where the cache is used because the mirror does not answer; nil is silence
	Progress func(bytes int64) // told how many bytes were downloaded since the last call; may be nil
}

// withDefaults fills in what is not set.
func (s Source) withDefaults() (Source, error) {
	if s.Cache == "" {
		return s, errors.New("a Debian source needs a folder for its cache")
	}
	if s.Mirror == "" {
		s.Mirror = "http://deb.debian.org/debian"
	}
	if s.Security == "" {
		s.Security = "http://deb.debian.org/debian-security"
	}
	if len(s.Suites) == 0 {
		s.Suites = []string{"trixie", "trixie-updates", "trixie-security"}
	}
	if len(s.Components) == 0 {
		s.Components = []string{"main", "non-free-firmware"}
	}
	if s.Arch == "" {
		s.Arch = "amd64"
	}
	if s.Client == nil {
		s.Client = newClient()
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	for _, name := range slices.Concat(s.Suites, s.Components, []string{s.Arch}) {
		if !only(name, ".-") || !fs.ValidPath(name) || name == "." {
			return s, fmt.Errorf("%.60q cannot be the name of a suite, component or architecture", name)
		}
	}
	return s, nil
}

// An Archive is a set of suites whose lists of packages have been read. It is
// safe for concurrent use.
type Archive struct {
	src      Source
	client   *http.Client
	keys     openpgp.EntityList
	releases []Release
	packages index
}

// Open reads the release files of the suites of src, checks their signatures,
// and reads the lists of packages. Where the mirror does not give a release
// file, the one in the cache is used; its signature is checked again.
//
// Errors wrap [ErrNoKeyring], [ErrUntrusted], [ErrExpired], [ErrDigest] or
// [ErrMalformed], or are those of the network and of the cache.
func Open(ctx context.Context, src Source) (*Archive, error) {
	src, err := src.withDefaults()
	if err != nil {
		return nil, err
	}
	a := &Archive{src: src, client: src.Client, packages: index{}}
	if a.keys, err = readKeyrings(src.Keyring); err != nil {
		return nil, err
	}
	for _, suite := range src.Suites {
		if err := a.openSuite(ctx, suite); err != nil {
			return nil, fmt.Errorf("reading suite %s: %w", suite, err)
		}
	}
	return a, nil
}

// Releases returns what was read, in the order of the suites.
func (a *Archive) Releases() []Release { return slices.Clone(a.releases) }

// Package returns the newest version of a package. The error wraps
// [ErrNoPackage] if there is none.
func (a *Archive) Package(name string) (Package, error) {
	p, ok := a.packages[name]
	if !ok {
		return p, fmt.Errorf("%w: %.100q in %s for %s", ErrNoPackage, name, strings.Join(a.src.Suites, ", "), a.src.Arch)
	}
	return p, nil
}

// Resolve returns the package that the meta package of that name stands for:
// the first one that it depends on whose name begins with prefix. Resolve of
// linux-image-amd64 with linux-image- is the newest kernel. The error wraps
// [ErrNoPackage] if there is none.
func (a *Archive) Resolve(name, prefix string) (Package, error) {
	meta, err := a.Package(name)
	if err != nil {
		return Package{}, err
	}
	dependency := meta.dependency(prefix)
	if dependency == "" {
		return Package{}, fmt.Errorf("%w: %s %v depends on none that begins with %.60q", ErrNoPackage, name, meta.Version, prefix)
	}
	return a.Package(dependency)
}

// Fetch makes sure that the file of a package is in the cache, complete and
// with the digest that was signed for, and returns its path. An error wraps
// [ErrDigest], or is one of the network or the cache.
func (a *Archive) Fetch(ctx context.Context, p Package) (string, error) {
	if !fs.ValidPath(p.Filename) || p.Size > maxPackage {
		return "", fmt.Errorf("package %s: %w: %d bytes in file %.200q", p.Name, ErrMalformed, p.Size, p.Filename)
	}
	file := filepath.Join(a.src.Cache, "packages", path.Base(p.Filename))
	if err := a.fetch(ctx, join(a.mirror(p.Suite), p.Filename), file, releaseEntry{p.SHA256, p.Size}); err != nil {
		return "", fmt.Errorf("fetching package %s: %w", p.Name, err)
	}
	return file, nil
}

// mirror returns the address that a suite is at.
func (a *Archive) mirror(suite string) string {
	if strings.HasSuffix(suite, "-security") {
		return a.src.Security
	}
	return a.src.Mirror
}

// join appends a path to an address.
func join(base, file string) string {
	return strings.TrimSuffix(base, "/") + "/" + (&url.URL{Path: file}).EscapedPath()
}

// openSuite reads the release file of a suite and its lists.
func (a *Archive) openSuite(ctx context.Context, suite string) error {
	f, offline, err := a.release(ctx, suite)
	if err != nil {
		return err
	}
	r := Release{Suite: suite, Date: f.date, ValidUntil: f.validUntil, Offline: offline}
	expired := r.Expired(time.Now())
	if expired && offline == nil {
		return fmt.Errorf("%w since %s", ErrExpired, f.validUntil.Format(time.DateTime))
	}
	if offline != nil {
		a.src.Log.Warn("release file taken from the cache", "suite", suite, "date", f.date, "expired", expired, "err", offline)
	}
	a.releases = append(a.releases, r)
	for _, component := range a.src.Components {
		if err := a.readList(ctx, suite, component, f); err != nil {
			return fmt.Errorf("component %s: %w", component, err)
		}
	}
	return nil
}

// release returns the release file of a suite: that of the mirror, or that of
// the cache if the mirror has none or an older one. offline says why the
// mirror gave none.
func (a *Archive) release(ctx context.Context, suite string) (f *releaseFile, offline, err error) {
	address := join(a.mirror(suite), "dists/"+suite+"/InRelease")
	file := filepath.Join(a.src.Cache, "lists", url.PathEscape(address))
	var cached *releaseFile
	if message, err := os.ReadFile(file); err == nil {
		cached, _ = a.trust(message, suite) // a damaged copy is no copy
	}
	message, err := a.getBytes(ctx, address, maxRelease)
	if err != nil {
		if cached == nil || ctx.Err() != nil {
			return nil, nil, err
		}
		return cached, err, nil
	}
	if f, err = a.trust(message, suite); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", address, err)
	}
	if cached != nil && cached.date.After(f.date) {
		return cached, nil, nil // one of several servers behind the address lags
	}
	return f, nil, replace(file, func(f *os.File) error { _, err := f.Write(message); return err })
}

// trust checks the signature of a release file and that it is the one of the
// suite that was asked for, and reads it.
func (a *Archive) trust(message []byte, suite string) (*releaseFile, error) {
	text, err := openSigned(message, a.keys, time.Now())
	if err != nil {
		return nil, err
	}
	f, err := parseRelease(strings.NewReader(string(text)))
	if err != nil {
		return nil, err
	}
	if f.codename != suite && f.suite != suite {
		return nil, fmt.Errorf("%w: it is of suite %.60q, %.60q", ErrUntrusted, f.codename, f.suite)
	}
	return f, nil
}

// readList reads the list of packages of one component of a suite. Where there
// is a choice, it takes gzip: the list is a third longer than with xz, but is
// read in a fraction of the time.
func (a *Archive) readList(ctx context.Context, suite, component string, f *releaseFile) error {
	dir := component + "/binary-" + a.src.Arch + "/"
	name := dir + "Packages.gz"
	entry, ok := f.files[name]
	if !ok {
		name = dir + "Packages.xz"
		if entry, ok = f.files[name]; !ok {
			return fmt.Errorf("%w: no list of packages for %s", ErrNoPackage, a.src.Arch)
		}
	}
	if entry.size > maxList {
		return fmt.Errorf("%w: %s has %d bytes", ErrMalformed, name, entry.size)
	}
	remote := name
	if f.byHash { // outlasts the moment in which the mirror changes
		remote = fmt.Sprintf("%sby-hash/SHA256/%x", dir, entry.digest)
	}
	file := filepath.Join(a.src.Cache, "lists", fmt.Sprintf("%x%s", entry.digest, path.Ext(name)))
	if err := a.fetch(ctx, join(a.mirror(suite), "dists/"+suite+"/"+remote), file, entry); err != nil {
		return err
	}
	return a.packages.readFile(file, suite)
}
