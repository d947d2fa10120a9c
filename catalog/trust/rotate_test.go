package trust

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// rotate changes keys.
func (s *shop) rotate(opt RotateOptions) Rotated {
	s.t.Helper()
	done, err := s.repo.Rotate(s.t.Context(), opt)
	if err != nil {
		s.t.Fatal(err)
	}
	return done
}

// rotateOnline replaces the online key, and returns the old one.
func (s *shop) rotateOnline() *SecretKey {
	s.t.Helper()
	old := s.online
	s.online = newKey(s.t)
	s.rotate(RotateOptions{Keys: s.release, NewOnline: s.online, Online: old})
	return old
}

// A root that the old keys have not signed, or the new ones have not, or that is not
// the next one, is nobody's root.
func TestFollowRefuses(t *testing.T) {
	s := newShop(t, 1, 1)
	thief := newKey(t)
	first, err := ParseRoot(s.root)
	if err != nil {
		t.Fatal(err)
	}
	hostile := func(version int64, keys ...*SecretKey) []byte { // a root with the thief's key as the release key
		m, err := decode[metadata.RootType](s.root)
		if err != nil {
			t.Fatal(err)
		}
		m.Signatures, m.Signed.Version = []metadata.Signature{}, version
		if err := setRelease(&m.Signed, []PublicKey{thief.Public()}, 1); err != nil {
			t.Fatal(err)
		}
		return seal(s, m, keys, nil)
	}
	for name, tt := range map[string]struct {
		p    []byte
		want error
	}{
		"by the thief":              {hostile(2, thief), ErrSignature},
		"by the thief and online":   {hostile(2, thief, s.online), ErrSignature},
		"by the old key alone":      {hostile(2, s.release[0]), ErrSignature},
		"by nobody":                 {hostile(2), ErrSignature},
		"version 3":                 {hostile(3, thief, s.release[0]), ErrMismatch},
		"version 1 again":           {s.root, ErrMismatch},
		"another kind of metadata":  {s.read("1.targets.json"), ErrMalformed},
		"too long":                  {make([]byte, maxRoot+1), ErrMalformed},
		"by both, which is as good": {hostile(2, thief, s.release[0]), nil},
	} {
		next, err := first.Follow(t.Context(), mapSource{"2.root.json": tt.p})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, next, err, tt.want)
		}
	}
	if _, err := ParseRoot(hostile(1, s.release[0])); !errors.Is(err, ErrSignature) {
		t.Errorf("a first root that its own key has not signed: %v, want ErrSignature", err)
	}
}

// A release key is replaced: who has the first root follows, and what the old key
// signs from then on counts for nobody.
func TestRotateRelease(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	old, next := s.release[0], newKey(t)
	done := s.rotate(RotateOptions{
		Add: []PublicKey{next.Public()}, Remove: []PublicKey{old.Public()}, Keys: []*SecretKey{old, next}, Online: s.online,
	})
	if want := (Versions{2, 3, 3, 3}); done.Versions != want || done.Pending {
		t.Errorf("rotated to %+v, want %+v", done, want)
	}
	if c := s.load(); ids(c) != "room@1" || c.Versions != done.Versions {
		t.Errorf("the catalog is %v of %v", ids(c), c.Versions)
	}
	opt := ReleaseOptions{Keys: []*SecretKey{old}, Online: s.online, Images: []ImageTarget{testImage("bad@1")}}
	if _, err := s.repo.Release(t.Context(), opt); !errors.Is(err, ErrKey) {
		t.Errorf("a release with the old key: %v, want ErrKey", err)
	}
	src := s.forge(func(f *forgery) { f.release = []*SecretKey{old} })
	if _, err := Load(t.Context(), files(t, s.dir).with(timestampFile, src[timestampFile]).
		with("3.snapshot.json", src["3.snapshot.json"]).with("3.targets.json", src["3.targets.json"]), LoadOptions{Root: s.root}); !errors.Is(err, ErrSignature) {
		t.Errorf("a list with the old key's signature alone: %v, want ErrSignature", err)
	}
	s.release = []*SecretKey{next}
	s.offer("room@2")
	if got := ids(s.load()); got != "room@1 room@2" {
		t.Errorf("after a release with the new key: %s", got)
	}
}

// Two of three release keys must sign; one is lost, and replaced by the other two.
func TestRotateTwoOfThree(t *testing.T) {
	s := newShop(t, 3, 2)
	for name, keys := range map[string][]*SecretKey{
		"one": s.release[:1], "one twice": {s.release[0], s.release[0]}, "one and a stranger": {s.release[0], newKey(t)}, "none": nil,
	} {
		_, err := s.repo.Release(t.Context(), ReleaseOptions{Keys: keys, Online: s.online})
		if !errors.Is(err, ErrKey) {
			t.Errorf("a release by %s: %v, want ErrKey", name, err)
		}
	}
	release := func(keys ...*SecretKey) error {
		_, err := s.repo.Release(t.Context(), ReleaseOptions{Keys: keys, Online: s.online})
		return err
	}
	if err := release(s.release[2], s.release[0]); err != nil {
		t.Error(err)
	}
	next := newKey(t)
	change := RotateOptions{Add: []PublicKey{next.Public()}, Remove: []PublicKey{s.release[2].Public()}, Online: s.online}
	change.Keys = []*SecretKey{s.release[0], next}
	if _, err := s.repo.Rotate(t.Context(), change); !errors.Is(err, ErrKey) {
		t.Errorf("a rotation by one old key and the new one: %v, want ErrKey", err)
	}
	change.Keys = s.release[:2]
	s.rotate(change)
	s.load()
	if err := release(s.release[1], next); err != nil {
		t.Error(err)
	}
	s.load()
	if err := release(s.release[1], s.release[2]); !errors.Is(err, ErrKey) {
		t.Errorf("a release with the lost key: %v, want ErrKey", err)
	}
	s.rotate(RotateOptions{Threshold: 3, Keys: []*SecretKey{s.release[0], s.release[1], next}, Online: s.online})
	s.load()
	if err := release(s.release[1], next); !errors.Is(err, ErrKey) {
		t.Errorf("two of three, where three must sign: %v, want ErrKey", err)
	}
	if _, err := s.repo.Rotate(t.Context(), RotateOptions{Threshold: 4, Keys: []*SecretKey{s.release[0], s.release[1], next}}); !errors.Is(err, ErrKey) {
		t.Errorf("a threshold that cannot be met: %v, want ErrKey", err)
	}
}

// The online key is stolen. Who has it shows machines a catalog of his own making,
// but no bundle and no image that was not released; and when the key was replaced,
// he shows nothing at all to a machine that sees the new root.
func TestStolenOnlineKey(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	thief := newKey(t)
	for name, keys := range map[string][]*SecretKey{"the online key": {s.online}, "a key of his own": {thief}, "none": nil} {
		src := s.forge(func(f *forgery) {
			f.release = keys
			bad := testImage("bad@1")
			f.targets.Signed.Targets["images/bad@1"], _ = bad.target()
			f.targets.Signed.Version, f.snapshot.Signed.Version, f.timestamp.Signed.Version = 7, 7, 7
		})
		delete(src, "1.root.json")
		opt := s.ask(s.online, func(c *Claims) { c.Versions = Versions{1, 7, 7, 7} }) // he makes tickets, too
		opt.Root = s.root
		if c, err := Load(t.Context(), src, opt); !errors.Is(err, ErrSignature) {
			t.Errorf("a list that is signed with %s gives %v, %v; want ErrSignature", name, c, err)
		}
	}

	stolen := s.rotateOnline()
	now := files(t, s.dir)
	src := s.forge(func(f *forgery) { f.online = []*SecretKey{stolen}; f.timestamp.Signed.Version = 9 })
	src["2.root.json"] = now["2.root.json"]
	for name, root := range map[string][]byte{"the first root": s.root, "the new root": now["2.root.json"]} {
		if c, err := Load(t.Context(), src, LoadOptions{Root: root}); !errors.Is(err, ErrSignature) {
			t.Errorf("from %s a timestamp with the old key gives %v, %v; want ErrSignature", name, c, err)
		}
		opt := s.ask(stolen, nil)
		opt.Root = root
		if c, err := Load(t.Context(), now, opt); !errors.Is(err, ErrSignature) {
			t.Errorf("from %s a ticket with the old key gives %v, %v; want ErrSignature", name, c, err)
		}
	}
	opt := s.ask(s.online, nil)
	opt.Root = s.root
	delete(now, "2.root.json") // a mirror that hides the new root
	if c, err := Load(t.Context(), now, opt); !errors.Is(err, ErrSignature) {
		t.Errorf("with the new root hidden: %v, %v; want ErrSignature", c, err)
	}

	// Its file, which lies there still, does not bring it back with the next rotation.
	next := newKey(t)
	for name, opt := range map[string]RotateOptions{
		"another five years": {Keys: s.release, Online: stolen},
		"a new release key":  {Keys: s.release, Add: []PublicKey{next.Public()}, Online: stolen},
	} {
		if _, err := s.repo.Rotate(t.Context(), opt); !errors.Is(err, ErrOnlineKey) || !errors.Is(err, ErrKey) {
			t.Errorf("%s with the stolen key at hand: %v, want ErrOnlineKey", name, err)
		}
	}
	s.rotate(RotateOptions{Keys: s.release})
	if c := s.load(); c.Versions.Root != 3 || c.Root.keys(metadata.TIMESTAMP)[s.online.public.ID()] == nil {
		t.Errorf("root %d has the online keys %v, want the new one", c.Versions.Root, c.Root.keys(metadata.TIMESTAMP))
	}
}

// A thief of the online key may have counted up to the last number there is. With
// a new key, numbers of a reader with a memory do not count any more.
func TestFastForward(t *testing.T) {
	s := newShop(t, 1, 1)
	c := s.load()
	memory := LoadOptions{Minimum: Versions{1, maxVersion, maxVersion, 1}}
	if _, err := s.loadDir(s.dir, memory); !errors.Is(err, ErrRollback) {
		t.Errorf("before the rotation: %v, want ErrRollback", err)
	}
	s.rotateOnline()
	if _, err := s.loadDir(s.dir, memory); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	memory.Root = s.load().Root.Encode()
	if _, err := Load(t.Context(), s.repo.Source(), memory); !errors.Is(err, ErrRollback) {
		t.Errorf("with the new root as the memory: %v, want ErrRollback", err)
	}
	memory = LoadOptions{Minimum: Versions{1, 1, 1, c.Versions.Targets + 1}}
	if _, err := s.loadDir(s.dir, memory); !errors.Is(err, ErrRollback) {
		t.Errorf("targets, whose key is the same: %v, want ErrRollback", err)
	}
}

// A new online key without the old one, and one that the server gets later.
func TestRotateOnlineAlone(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	s.online = newKey(t)
	if done := s.rotate(RotateOptions{Keys: s.release, NewOnline: s.online}); done.Pending {
		t.Errorf("rotated to %+v, want that nothing is left to do", done)
	}
	if got := ids(s.load()); got != "room@1" {
		t.Errorf("after the rotation: %q", got)
	}
	if done, err := s.repo.Refresh(t.Context(), s.online); err != nil || done.Timestamp {
		t.Errorf("a refresh after that: %+v, %v; want that nothing is due", done, err)
	}
	for name, opt := range map[string]RotateOptions{
		"the online key as a release key":  {Keys: s.release, NewOnline: s.release[0]},
		"a release key that is the online": {Keys: s.release, Add: []PublicKey{s.online.Public()}},
		"a stranger's signature":           {Keys: append([]*SecretKey{newKey(t)}, s.release...)},
		"removing a stranger":              {Keys: s.release, Remove: []PublicKey{newKey(t).Public()}},
		"an old key that is none":          {Keys: s.release, NewOnline: newKey(t), Online: newKey(t)},
		"an online key that is none":       {Keys: s.release, Online: newKey(t)},
	} {
		if _, err := s.repo.Rotate(t.Context(), opt); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, want ErrKey", name, err)
		}
	}
	s.load()
}

// A root is renewed before its five years are over, or after.
func TestRenewRoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t, 1, 1)
		time.Sleep(rootLife + day)
		s.offer()
		if _, err := s.loadDir(s.dir, LoadOptions{}); !errors.Is(err, ErrExpired) {
			t.Fatalf("with an expired root: %v, want ErrExpired", err)
		}
		s.rotate(RotateOptions{Keys: s.release})
		if c := s.load(); c.Versions.Root != 2 {
			t.Errorf("root version %d, want 2", c.Versions.Root)
		}
	})
}

// Readers follow 32 roots, and no Rotate makes more.
func TestLongChain(t *testing.T) {
	s := newShop(t, 1, 1)
	for range maxChain {
		s.rotate(RotateOptions{Keys: s.release})
	}
	if c := s.load(); c.Versions.Root != maxChain+1 {
		t.Errorf("root version %d, want %d", c.Versions.Root, maxChain+1)
	}
	if _, err := s.repo.Rotate(t.Context(), RotateOptions{Keys: s.release}); !errors.Is(err, ErrKey) {
		t.Errorf("one more: %v, want ErrKey", err)
	}
	src := files(t, s.dir)
	last, err := ParseRoot(src["33.root.json"])
	if err != nil {
		t.Fatal(err)
	}
	if src["34.root.json"], err = oneMore(last, s.release); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), src, LoadOptions{Root: s.root}); !errors.Is(err, ErrMalformed) {
		t.Errorf("33 roots after the first: %v, want ErrMalformed", err)
	}
	if _, err := Load(t.Context(), src, LoadOptions{Root: src["2.root.json"]}); err != nil {
		t.Errorf("32 roots after the second: %v", err)
	}
}

// oneMore returns the root after r, without asking whether there may be one.
func oneMore(r *Root, keys []*SecretKey) ([]byte, error) {
	next, err := r.successor(RotateOptions{Keys: keys})
	if err != nil {
		return nil, fmt.Errorf("one more: %w", err)
	}
	return next.raw, nil
}
