package trust

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"slipcast/internal/durable"
)

// Names in the folder of a catalog, section 7.1.
const (
	metadataFolder = "metadata"
	bundlesFolder  = "bundles"
	lockFile       = "lock"
	bundleEnding   = ".slb"
	partialEnding  = ".partial"
)

// lockStep is how long who waits for the lock sleeps before the next try.
const lockStep = 20 * time.Millisecond

// lock waits until nobody else writes the catalog. Closing the file lets go.
func (r *Repository) lock(ctx context.Context) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(r.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
		}
		select {
		case <-time.After(lockStep):
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}

// put writes a file of metadata: it is there whole and on the disk, or not at all.
func (r *Repository) put(name string, p []byte) error {
	return durable.WriteFile(r.metadataPath(name), 0o666, p)
}

// remove takes a file of metadata away, if it is there.
func (r *Repository) remove(name string) error {
	if err := os.Remove(r.metadataPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncDir(r.metadataPath(""))
}

// metadataPath returns where a file of metadata lies.
func (r *Repository) metadataPath(name string) string {
	return filepath.Join(r.dir, metadataFolder, name)
}

// newest returns the highest version of a role that has a file, 0 if none has.
func (r *Repository) newest(role string) (int64, error) {
	entries, err := os.ReadDir(filepath.Join(r.dir, metadataFolder))
	if err != nil {
		return 0, err
	}
	var highest int64
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), "."+role+".json")
		n, err := strconv.ParseInt(number, 10, 64)
		if ok && err == nil && fileName(role, n) == e.Name() {
			highest = max(highest, n)
		}
	}
	return highest, nil
}
