package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"slipcast/catalog/bundle"
	"slipcast/catalog/plan"
	"slipcast/catalog/trust"
)

// A catalogFlag says where a catalog is, and why it is trusted.
type catalogFlag struct {
	storeFlag
	dir     string // of the catalog, or its URL; empty: catalog in the store
	pin     pin    // of the server at that URL
	root    string // file of the root that is trusted; empty: the catalog's own
	ticket  string // file of a job ticket
	nonce   string // that it answers
	machine string // that it is for
	held    string // folder of files of bundles that are here already; empty: none

	unreleased []string // files of bundles that are looked at as if they were released
}

// addCatalogFlags adds the flags that all commands have that read a catalog.
func addCatalogFlags(cmd *cobra.Command, f *catalogFlag) {
	addStoreFlag(cmd, &f.storeFlag)
	cmd.Flags().StringVar(&f.dir, "catalog", "", "the folder `DIR` of the catalog, or its URL on a server (default: catalog in the store)")
	cmd.Flags().Var(&f.pin, "pin", "take only the server whose key has this SHA-256 (SubjectPublicKeyInfo)")
	cmd.Flags().StringVar(&f.root, "trust", "", "trust the root in `FILE` (default: the one in the folder)")
}

// addTicketFlags adds the flags with which an agent says what its server has
// told it.
func addTicketFlags(cmd *cobra.Command, f *catalogFlag) {
	cmd.Flags().StringVar(&f.ticket, "ticket", "", "take no catalog but the one of the job ticket in `FILE`, and its time for the clock")
	cmd.Flags().StringVar(&f.nonce, "nonce", "", "what the ticket answers, in `HEX`")
	cmd.Flags().StringVar(&f.machine, "ticket-machine", "", "the machine that the ticket is for, its `MAC` address")
}

// An openCatalog is a catalog that was verified.
type openCatalog struct {
	*trust.Catalog
	files catalogFiles
	plans *plan.Catalog

	unreleased map[string]string // files of bundles that were not released, by ID
}

// open reads the catalog and verifies it.
func (f *catalogFlag) open(ctx context.Context, env *env) (*openCatalog, error) {
	if err := f.settle(); err != nil {
		return nil, err
	}
	dir := f.folder()
	files, err := f.files(ctx, dir)
	if err != nil {
		return nil, err
	}
	opt, err := f.load(ctx, files)
	if err != nil {
		return nil, err
	}
	catalog, err := trust.Load(ctx, files.Source(), opt)
	if err != nil {
		return nil, fmt.Errorf("the catalog in %s: %w", dir, err)
	}
	if local, ok := files.(catalogDir); ok && f.ticket == "" {
		if err := warnExpiry(ctx, env, local.Repository); err != nil {
			return nil, err
		}
	}
	if f.dir != "" && !catalog.Fresh && !env.quiet {
		env.note(dir, "whether there is a newer catalog, nobody here can know")
	}
	c := &openCatalog{Catalog: catalog, files: withHeld(files, f.held), unreleased: map[string]string{}}
	bundles, err := c.with(planBundles(catalog), f.unreleased)
	if err != nil {
		return nil, err
	}
	if c.plans, err = plan.Compile(bundles); err != nil {
		return nil, fmt.Errorf("the catalog in %s: %w", dir, err)
	}
	return c, nil
}

// with returns the bundles of the catalog and those in files, which are looked at
// as if they were released, too.
func (c *openCatalog) with(list []plan.Bundle, files []string) ([]plan.Bundle, error) {
	for _, path := range files {
		b, err := openBundleFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		id := b.Manifest.ID()
		released, err := c.Bundle(id)
		switch {
		case c.unreleased[id] != "":
			err = fmt.Errorf("%s: %s is also in %s", path, id, c.unreleased[id])
		case err == nil && released.Digest != b.Digest:
			err = fmt.Errorf("%s: %s: %w", path, id, trust.ErrExists)
		case err == nil: // the same
		default:
			err = nil
			c.unreleased[id] = path
			list = append(list, plan.Bundle{Header: b.Manifest.Header, Digest: b.Digest, Size: b.size})
		}
		if err := errors.Join(err, b.Close()); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// openBundleFile opens a bundle that nobody has signed: it is looked at, and
// nothing of it runs.
func openBundleFile(path string) (*bundleFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b, err := bundle.Open(f, info.Size())
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &bundleFile{b, f, info.Size()}, nil
}

// files returns the files of the catalog in dir, or at that URL.
func (f *catalogFlag) files(ctx context.Context, dir string) (catalogFiles, error) {
	if isRemote(dir) {
		return newCatalogServer(ctx, dir, f.pin)
	}
	repository, err := trust.OpenRepository(dir)
	if err != nil {
		return nil, fmt.Errorf("the catalog in %s: %w", dir, err)
	}
	return catalogDir{repository}, nil
}

// load returns what the catalog is checked against.
func (f *catalogFlag) load(ctx context.Context, files catalogFiles) (opt trust.LoadOptions, err error) {
	local, isDir := files.(catalogDir)
	switch {
	case f.root != "":
		opt.Root, err = readBoundedFile(f.root, 64<<10)
	case !isDir:
		return opt, usagef("why is the catalog on a server to be trusted? --trust FILE has the root that says so")
	default:
		var own *trust.Root
		if own, err = local.Root(ctx); err == nil {
			opt.Root = own.Encode()
		} else {
			err = fmt.Errorf("the catalog in %s: %w", f.folder(), err)
		}
	}
	if err != nil || f.ticket == "" {
		opt.NoServer, opt.Built = true, builtAt()
		return opt, err
	}
	if opt.Nonce, err = trust.ParseNonce(f.nonce); err != nil {
		return opt, usagef("--nonce: %w", err)
	}
	opt.Machine = f.machine
	opt.Ticket, err = readBoundedFile(f.ticket, 64<<10)
	return opt, err
}

// readBoundedFile reads a file that may have most bytes.
func readBoundedFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%s: not a plain file of at most %d bytes", path, most)
	}
	return os.ReadFile(path)
}

// planBundles returns the bundles of a catalog as plans see them.
func planBundles(c *trust.Catalog) []plan.Bundle {
	list := make([]plan.Bundle, 0, len(c.Bundles))
	for _, b := range c.Bundles {
		list = append(list, plan.Bundle{Header: b.Header, Digest: b.Digest, Size: b.File.Size, Recalled: b.Recalled})
	}
	return list
}

// whole returns what is wrong with the file of the first of these bundles that
// is damaged, nil if none is. Without its file, nobody knows whether a bundle
// is on a root, and a plan for that looks as if the root had changed.
func (c *openCatalog) whole(ids ...string) error {
	for _, id := range ids {
		f, err := c.bundle(id)
		if err == nil {
			err = f.Close()
		}
		if errors.Is(err, bundle.ErrDamaged) || errors.Is(err, bundle.ErrNotBundle) || isUntrusted(err) {
			return err
		}
	}
	return nil
}

// wholeProduct is whole of all bundles of a product.
func (c *openCatalog) wholeProduct(name string) error {
	var ids []string
	for i := range c.Bundles {
		if id := c.Bundles[i].ID(); productOf(id) == name {
			ids = append(ids, id)
		}
	}
	return c.whole(ids...)
}

// A bundleFile is a bundle of the catalog that is open.
type bundleFile struct {
	*bundle.Bundle
	file io.Closer
	size int64 // of the file, in bytes
}

// Close closes the file.
func (b *bundleFile) Close() error { return b.file.Close() }

// bundle opens the file of a bundle, whose manifest must be the one that was
// signed. What it holds is checked against that while it is read.
func (c *openCatalog) bundle(id string) (*bundleFile, error) {
	if path := c.unreleased[id]; path != "" {
		return openBundleFile(path)
	}
	target, err := c.Bundle(id)
	if err != nil {
		return nil, err
	}
	f, err := c.files.Open(target.File)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	b, err := target.Open(f, f.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, errors.Join(err, f.Close()))
	}
	return &bundleFile{b, f, target.File.Size}, nil
}
