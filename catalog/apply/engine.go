package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Barriers, docs/bundles.md section 9.3.
const (
	afterStage   = 1 // all that is needed to finish, or to go back, is there
	afterCommit  = 2 // it will happen
	afterFiles   = 3 // it has happened
	afterReceipt = 4 // and is said to have
	afterEnd     = 5 // nobody will do it again
)

// An engine runs transactions on a disk. It is for one goroutine.
type engine struct {
	d       disk
	state   string // the folder with receipts and transactions
	at      int    // volume that the state lies on
	volumes []volume
	verify  func(ctx context.Context, t *transaction) error // asks detection; nil: nobody
	log     func(string)
}

// newEngine returns the engine for a disk whose state lies below state.
func newEngine(d disk, state string) *engine {
	e := &engine{d: d, state: state, volumes: d.volumes(), log: func(string) {}}
	e.at = e.volume(state)
	return e
}

// volume returns the number of the volume that path lies on. A path that is
// the top of a volume lies on it.
func (e *engine) volume(path string) int { return volumeOf(e.volumes, path) }

func volumeOf(volumes []volume, path string) int {
	best := 0
	for i, v := range volumes {
		if v.top != "" && (path == v.top || strings.HasPrefix(path, v.top+"/")) && len(v.top) >= len(volumes[best].top) {
			best = i
		}
	}
	return best
}

// folder returns where transaction id has its files.
func (e *engine) folder(id string) string { return path.Join(e.state, "tx", id) }

// side returns where transaction id keeps files of a volume.
func (e *engine) side(volume int, id string) string {
	if volume == e.at {
		return e.folder(id)
	}
	return path.Join(e.volumes[volume].top, ".slipcast", id)
}

// staged returns the path of file n of the stage of a volume, and undone that
// of the undo folder.
func (e *engine) staged(volume int, id string, n int) string {
	return fmt.Sprintf("%s/stage/%d", e.side(volume, id), n)
}

func (e *engine) undone(volume int, id string, n int) string {
	return fmt.Sprintf("%s/undo/%d", e.side(volume, id), n)
}

// used returns the volumes that a transaction changes, and the one with the
// state.
func (e *engine) used(t *transaction) []int {
	list := []int{e.at}
	for i := range t.Steps {
		if v := e.volume(string(t.Steps[i].Path)); !slices.Contains(list, v) {
			list = append(list, v)
		}
	}
	slices.Sort(list)
	return list
}

// prepare makes the folders of the state, without a trace in the times of the
// folders that they are made in.
func (e *engine) prepare() error {
	if err := e.ensureDir(e.state, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"tx", "receipts"} {
		if err := e.ensureDir(path.Join(e.state, name), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// ensureDir makes a directory of 0:0 and those that it lies in, unless it is
// there. What is there and not a directory is an error.
func (e *engine) ensureDir(dir string, mode uint32) error {
	st, err := e.d.stat(dir)
	if err == nil && st.dir() {
		return nil
	}
	if err == nil {
		return at(dir, damaged("%s", st.name()))
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := path.Dir(dir)
	if err := e.ensureDir(parent, 0o755); err != nil {
		return err
	}
	before, err := e.d.stat(parent)
	if err != nil {
		return err
	}
	if err := e.d.mkdir(dir); err != nil {
		return err
	}
	made, err := e.d.stat(dir)
	if err != nil {
		return err
	}
	n := &Node{Type: Dir, Mode: mode, Time: made.Time}
	if label := before.labelOf(); label != nil {
		n.label(label)
	}
	if err := e.d.attributes(dir, n); err != nil {
		return err
	}
	return e.d.setTime(parent, before.Time)
}

// next returns the number of the next transaction: higher than those that left
// anything on the disk, and than those of the receipts, of which nothing else
// may be left.
func (e *engine) next(receipts []Receipt) (string, error) {
	ids, err := e.ids()
	if err != nil {
		return "", err
	}
	last := "00000000"
	if len(ids) > 0 {
		last = ids[0]
	}
	for i := range receipts {
		last = max(last, receipts[i].Tx)
	}
	n, err := strconv.Atoi(last)
	if err == nil && n >= maxID {
		err = damaged("transaction %s is the last that there can be", last)
	}
	return fmt.Sprintf("%08d", n+1), err
}

// ids returns the numbers of all transactions that left anything on the disk,
// the newest first.
func (e *engine) ids() ([]string, error) {
	var ids []string
	for v := range e.volumes {
		list, err := e.d.names(path.Dir(e.side(v, "0")))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, name := range list {
			if !isID(name) {
				continue
			}
			for _, dir := range []string{"", "stage", "undo"} {
				if err := e.folderOrNothing(path.Join(e.side(v, name), dir)); err != nil {
					return nil, err
				}
			}
			ids = append(ids, name)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	slices.Reverse(ids)
	return ids, nil
}

// readAll reads a file of the state, of at most limit bytes.
func (e *engine) readAll(path string, limit int64) ([]byte, error) {
	f, err := e.d.open(path)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, at(path, err)
	}
	if int64(len(p)) > limit {
		return nil, at(path, damaged("more than %d bytes", limit))
	}
	return p, nil
}

// put writes a file of the state beside its place and renames it.
func (e *engine) put(file string, p []byte) error {
	if err := e.absent(file + ".new"); err != nil {
		return err
	}
	if err := e.d.write(file+".new", strings.NewReader(string(p)), &Node{Type: File, Mode: 0o600}); err != nil {
		return err
	}
	return e.d.rename(file+".new", file)
}

// absent removes a file, if it is there.
func (e *engine) absent(path string) error {
	if err := e.d.remove(path, false); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// digest returns the SHA-256 of p in hexadecimal.
func digest(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}
