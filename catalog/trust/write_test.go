package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Readers find a good catalog at any moment, while releases, refreshes and
// rotations go on. It fails within a second if anything is written in another
// order.
func TestReadersWhileWriting(t *testing.T) {
	s := newShop(t, 1, 1)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	loads := make([]int, 2)
	for r := range loads {
		readers.Go(func() {
			var last Versions
			for ; ctx.Err() == nil; loads[r]++ {
				c, err := s.loadDir(s.dir, LoadOptions{Minimum: last})
				if err != nil {
					t.Errorf("load %d: %v", loads[r], err)
					return
				}
				last = c.Versions
			}
		})
	}
	for i := range 12 {
		s.offer(fmt.Sprintf("room@%d", i))
		old, next := s.release[0], newKey(t)
		s.rotate(RotateOptions{Add: []PublicKey{next.Public()}, Remove: []PublicKey{old.Public()}, Keys: []*SecretKey{old, next}, Online: s.online})
		s.release = []*SecretKey{next}
		s.rotateOnline()
		mustRefresh(t, s)
	}
	stop()
	readers.Wait()
	t.Logf("%d and %d loads", loads[0], loads[1])
	if loads[0] == 0 || loads[1] == 0 {
		t.Error("nobody has read meanwhile")
	}
}

// Releases and refreshes at once, by different processes as far as the lock can
// tell, lose nothing.
func TestWritersAtOnce(t *testing.T) {
	s := newShop(t, 1, 1)
	const each = 5
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			repo, err := OpenRepository(s.dir)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range each {
				opt := ReleaseOptions{Keys: s.release, Online: s.online, Images: []ImageTarget{testImage(fmt.Sprintf("room-%d@%d", w, i))}}
				if _, err := repo.Release(t.Context(), opt); err != nil {
					t.Error(err)
				}
				if _, err := repo.Refresh(t.Context(), s.online); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if c := s.load(); len(c.Images) != 4*each || c.Versions.Targets != 1+4*each {
		t.Errorf("%d images in version %d, want %d in %d", len(c.Images), c.Versions.Targets, 4*each, 1+4*each)
	}
}

// A wait for the lock ends with its context.
func TestLockIsCalledOff(t *testing.T) {
	s := newShop(t, 1, 1)
	held, err := s.repo.lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.repo.Refresh(ctx, s.online); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want context.DeadlineExceeded", err)
		}
	})
}

// killVariable names the folder in which a process of TestKill works.
const killVariable = "SLIPCAST_TEST_KILL"

// A writer that is killed leaves a catalog that is good, and that the next one
// goes on with.
func TestKill(t *testing.T) {
	if dir := os.Getenv(killVariable); dir != "" {
		releaseForEver(t, dir)
	}
	s := newShop(t, 1, 1)
	keys := t.TempDir()
	for name, k := range map[string]*SecretKey{"release": s.release[0], "online": s.online} {
		p, err := k.Encode("")
		if err == nil {
			err = os.WriteFile(filepath.Join(keys, name), p, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	killed := 0
	for i := range 15 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), killVariable+"="+s.dir+":"+keys)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it is at work
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 700 * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it says that it was killed
		killed++
		c := s.load()
		have := len(c.Images)
		s.offer(fmt.Sprintf("after@%d", i))
		if got := len(s.load().Images); got < have+1 || got > have+2 { // one more may have had its list, but no snapshot
			t.Errorf("kill %d: %d images, and %d after one more", i, have, got)
		}
	}
	if killed == 0 {
		t.Error("nobody was killed")
	}
}

// releaseForEver releases one image after the other.
func releaseForEver(t *testing.T, where string) {
	dir, keys, _ := strings.Cut(where, ":")
	repo, err := OpenRepository(dir)
	if err != nil {
		t.Fatal(err)
	}
	var pair []*SecretKey
	for _, name := range []string{"release", "online"} {
		p, err := os.ReadFile(filepath.Join(keys, name))
		if err != nil {
			t.Fatal(err)
		}
		k, err := ParseSecretKey(p, nil)
		if err != nil {
			t.Fatal(err)
		}
		pair = append(pair, k)
	}
	c, err := repo.Catalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("ready")
	for i := 0; ; i++ {
		image := testImage(fmt.Sprintf("killed-%d@%d", c.Versions.Targets, i))
		if _, err := repo.Release(t.Context(), ReleaseOptions{Images: []ImageTarget{image}, Keys: pair[:1], Online: pair[1]}); err != nil {
			t.Fatal(err)
		}
	}
}

// A power cut between any two files leaves the old catalog or the new one: what
// each write adds is laid over what was there, in its order.
func TestPowerCut(t *testing.T) {
	for name, write := range map[string]func(s *shop){
		"release": func(s *shop) { s.offer("room@2") },
		"rotate release key": func(s *shop) {
			old, next := s.release[0], newKey(t)
			s.rotate(RotateOptions{Add: []PublicKey{next.Public()}, Remove: []PublicKey{old.Public()}, Keys: []*SecretKey{old, next}, Online: s.online})
		},
		"rotate online key": func(s *shop) { s.rotateOnline() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, 1, 1)
			s.offer("room@1")
			before := files(t, s.dir)
			write(s)
			after := files(t, s.dir)
			src := before
			for _, role := range []string{"targets.json", "snapshot.json", timestampFile, "root.json"} {
				for file, p := range after {
					if strings.HasSuffix(file, role) && !bytes.Equal(before[file], p) {
						src = src.with(file, p)
					}
				}
				if _, err := Load(t.Context(), src, LoadOptions{Root: s.root}); err != nil {
					t.Errorf("after the %s: %v", role, err)
				}
			}
		})
	}
}

// A release without the online key counts after the next refresh, and one that was
// cut short before its snapshot likewise.
func TestPending(t *testing.T) {
	s := newShop(t, 1, 1)
	done, err := s.repo.Release(t.Context(), ReleaseOptions{Keys: s.release, Images: []ImageTarget{testImage("room@1")}})
	if err != nil || !done.Pending {
		t.Fatalf("released %+v, %v; want it pending", done, err)
	}
	if got := ids(s.load()); got != "" {
		t.Errorf("before the refresh: %q, want nothing", got)
	}
	if st, err := s.repo.Status(t.Context()); err != nil || !st.Pending {
		t.Errorf("status %+v, %v; want it pending", st, err)
	}
	if c, err := s.repo.Catalog(t.Context()); err != nil || ids(c) != "room@1" {
		t.Errorf("the repository lists %v, %v", c, err)
	}
	if done := mustRefresh(t, s); !done.Snapshot || !done.Timestamp || done.Versions != (Versions{1, 2, 2, 2}) {
		t.Errorf("refreshed %+v", done)
	}
	if got := ids(s.load()); got != "room@1" {
		t.Errorf("after the refresh: %q", got)
	}
	if _, err := s.repo.Refresh(t.Context(), s.release[0]); !errors.Is(err, ErrKey) {
		t.Errorf("a refresh with the release key: %v, want ErrKey", err)
	}
}

// What was reported as an error does not count later, wherever the disk fails; and
// what a root that has its place needs stays.
func TestFailedWrite(t *testing.T) {
	for _, name := range []string{"2.targets.json", "2.snapshot.json", timestampFile} {
		s := newShop(t, 1, 1)
		mend := s.block(name)
		_, err := s.repo.Release(t.Context(), ReleaseOptions{Keys: s.release, Online: s.online, Images: []ImageTarget{testImage("room@1")}})
		if err == nil {
			t.Errorf("%s cannot be written, and that is no error", name)
		}
		mend()
		if done := mustRefresh(t, s); done.Versions != (Versions{1, 1, 1, 1}) {
			t.Errorf("%s could not be written, and a refresh signs %+v", name, done.Versions)
		}
		if got := ids(s.load()); got != "" {
			t.Errorf("%s could not be written, and a refresh releases %s", name, got)
		}
		s.offer("room@2")
		if got := ids(s.load()); got != "room@2" {
			t.Errorf("%s could not be written, and the next release is %s", name, got)
		}
	}
	s := newShop(t, 1, 1)
	s.offer("room@1")
	mend := s.block("2.root.json")
	old, next := s.release[0], newKey(t)
	_, err := s.repo.Rotate(t.Context(), RotateOptions{
		Add: []PublicKey{next.Public()}, Remove: []PublicKey{old.Public()}, Keys: []*SecretKey{old, next}, Online: s.online,
	})
	if err == nil {
		t.Error("the root cannot be written, and that is no error")
	}
	mend()
	mustRefresh(t, s)
	if c := s.load(); ids(c) != "room@1" || c.Versions.Root != 1 {
		t.Errorf("after a rotation that failed: %s, root %d", ids(c), c.Versions.Root)
	}
}

// block makes that a file of metadata cannot be written, until what it returns is
// called.
func (s *shop) block(name string) (mend func()) {
	s.t.Helper()
	dir := filepath.Join(s.dir, "metadata", name+partialEnding)
	if err := os.MkdirAll(filepath.Join(dir, "full"), 0o777); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		if err := os.RemoveAll(dir); err != nil {
			s.t.Fatal(err)
		}
	}
}

// A refresh signs what is due, and nothing else.
func TestRefreshWhenDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, 1, 1)
		var snapshots, timestamps int
		for range 60 {
			time.Sleep(day)
			done := mustRefresh(t, s)
			if done.Snapshot {
				snapshots++
			}
			if done.Timestamp {
				timestamps++
			}
			if again := mustRefresh(t, s); again.Snapshot || again.Timestamp {
				t.Errorf("a second refresh: %+v, want that nothing is due", again)
			}
			s.load()
		}
		if snapshots != 3 || timestamps != 60 {
			t.Errorf("%d snapshots and %d timestamps in 60 days, want 3 and 60", snapshots, timestamps)
		}
	})
}

// Whoever has a quarter of the time left is warned.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, 3, 2)
		due := func() string {
			st, err := s.repo.Status(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var list []string
			for _, r := range st.Roles {
				if r.Due {
					list = append(list, r.Role)
				}
			}
			if r := st.Roles[0]; r.Role != "root" || r.Threshold != 2 || len(r.Keys) != 3 {
				t.Errorf("the root is %+v", r)
			}
			return strings.Join(list, " ")
		}
		for _, tt := range []struct {
			after time.Duration
			want  string
		}{
			{0, ""},
			{timestampLife*3/4 - time.Minute, ""},
			{timestampLife * 3 / 4, "timestamp"},
			{snapshotLife * 3 / 4, "snapshot timestamp"},
			{targetsLife * 3 / 4, "targets snapshot timestamp"},
			{rootLife * 3 / 4, "root targets snapshot timestamp"},
		} {
			time.Sleep(tt.after - time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)))
			if got := due(); got != tt.want {
				t.Errorf("after %v: %q, want %q", tt.after, got, tt.want)
			}
		}
	})
}

// Init makes no catalog where there is one, or where nobody could sign.
func TestInitRefuses(t *testing.T) {
	s := newShop(t, 1, 1)
	opt := InitOptions{Release: []PublicKey{s.release[0].Public()}, Keys: s.release, Online: s.online}
	if _, err := Init(t.Context(), s.dir, opt); !errors.Is(err, fs.ErrExist) {
		t.Errorf("where there is one: %v, want fs.ErrExist", err)
	}
	s.load()
	for name, change := range map[string]func(opt *InitOptions){
		"no release key":            func(o *InitOptions) { o.Release = nil },
		"nobody signs":              func(o *InitOptions) { o.Keys = nil },
		"a stranger signs":          func(o *InitOptions) { o.Keys = []*SecretKey{newKey(t)} },
		"too high a threshold":      func(o *InitOptions) { o.Threshold = 2 },
		"one key for both purposes": func(o *InitOptions) { o.Online = s.release[0] },
	} {
		o := opt
		change(&o)
		dir := filepath.Join(t.TempDir(), "catalog")
		if _, err := Init(t.Context(), dir, o); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
		if _, err := OpenRepository(dir); !errors.Is(err, ErrNotCatalog) {
			t.Errorf("%s: afterwards %v, want ErrNotCatalog", name, err)
		}
	}
}
