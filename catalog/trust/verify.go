package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// VerifyOptions change how a catalog is verified. The zero value is the default.
type VerifyOptions struct {
	Partial  bool                         // bundles whose files are not there are no fault: a mirror fetches them later
	Progress func(bytes int64)            // told of bytes of bundles
	Found    func(path string, err error) // told of each file that is damaged or missing
}

// Verified is what a catalog was found to have.
type Verified struct {
	Bundles int   // whose files are there
	Bytes   int64 // of them
	Missing int   // bundles whose files are not there
	Faults  int
}

// Verify reads all metadata that a reader may be given, whether or not they have
// expired, and every byte of every bundle that was released, and checks them
// against what was signed. What is damaged is told to Found; the error is one
// that kept Verify from looking.
func (r *Repository) Verify(ctx context.Context, opt VerifyOptions) (Verified, error) {
	v := &verifier{r: r, opt: opt}
	err := v.run(ctx)
	return v.Verified, err
}

// A verifier looks through one catalog.
type verifier struct {
	r   *Repository
	opt VerifyOptions
	Verified
}

func (v *verifier) run(ctx context.Context) error {
	root, err := v.r.Root(ctx)
	if err != nil {
		return v.metadata(ctx, err)
	}
	// Nothing has expired at the beginning of time.
	l := loader{ctx: ctx, src: v.r.Source(), root: root}
	if _, err := l.load(); err != nil && !v.isUnsigned(err) {
		if err := v.metadata(ctx, err); err != nil {
			return err
		}
	}
	catalog, err := v.r.Catalog(ctx) // also what the online key has not signed yet
	if err != nil {
		return v.metadata(ctx, err)
	}
	for i := range catalog.Bundles {
		if err := v.bundle(ctx, &catalog.Bundles[i]); err != nil {
			return err
		}
	}
	return nil
}

// isUnsigned tells whether an error is that the online key has never signed
// anything: the catalog was made where it is not at hand.
func (v *verifier) isUnsigned(err error) bool {
	_, stat := os.Stat(filepath.Join(v.r.dir, metadataFolder, timestampFile))
	return errors.Is(err, fs.ErrNotExist) && errors.Is(stat, fs.ErrNotExist)
}

// metadata notes that metadata are not what was signed. An error of the context
// is returned.
func (v *verifier) metadata(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	v.fault(filepath.Join(v.r.dir, metadataFolder), err)
	return nil
}

func (v *verifier) fault(path string, err error) {
	v.Faults++
	if v.opt.Found != nil {
		v.opt.Found(path, err)
	}
}

// bundle checks the file of a bundle.
func (v *verifier) bundle(ctx context.Context, b *BundleTarget) error {
	path := v.r.BundlePath(b.File)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if v.Missing++; !v.opt.Partial {
			v.fault(path, fmt.Errorf("%s: %w", b.ID(), err))
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	v.Bundles++
	err = b.File.Verify(ctx, &progressReader{f, v})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		v.fault(path, fmt.Errorf("%s: %w", b.ID(), err))
	}
	return nil
}

// A progressReader tells what is read.
type progressReader struct {
	io.Reader
	v *verifier
}

// Read implements io.Reader.
func (p *progressReader) Read(q []byte) (int, error) {
	n, err := p.Reader.Read(q)
	p.v.Bytes += int64(n)
	if p.v.opt.Progress != nil {
		p.v.opt.Progress(int64(n))
	}
	return n, err
}
