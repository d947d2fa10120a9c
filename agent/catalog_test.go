package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"slipcast/agent/wire"
	"slipcast/catalog/trust"
)

// A shop is a server's catalog, which has released lab@3, and lab@4 after that,
// and has recalled sick@1. It is good for two weeks around now.
type shop struct {
	now      time.Time
	root     []byte
	online   *trust.SecretKey
	versions trust.Versions
	files    map[string][]byte
	old      map[string][]byte // before lab@4
}

// testShop returns the shop of all rooms.
var testShop = sync.OnceValue(func() *shop { return newShop() })

// sickDigest is the digest of sick@1.
var sickDigest = strings.Repeat("51", 32)

func newShop() *shop {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	dir, err := os.MkdirTemp("", "slipcast-agent-")
	must(err)
	defer os.RemoveAll(dir)
	release, err := trust.GenerateKey()
	must(err)
	s := &shop{now: time.Now()}
	s.online, err = trust.GenerateKey()
	must(err)
	ctx := context.Background()
	repo, err := trust.Init(ctx, dir, trust.InitOptions{Release: []trust.PublicKey{release.Public()}, Keys: []*trust.SecretKey{release}, Online: s.online})
	must(err)
	offer := func(name, version, digest string, recall map[string]string) {
		done, err := repo.Release(ctx, trust.ReleaseOptions{
			Images: []trust.ImageTarget{{Name: name, Version: version, Digest: digest, Size: 1 << 30}}, Recall: recall,
			Keys: []*trust.SecretKey{release}, Online: s.online,
		})
		must(err)
		s.versions = done.Versions
	}
	offer("lab", "3", testDigest, nil)
	s.old = readMetadata(dir)
	offer("sick", "1", sickDigest, nil)
	offer("lab", "4", strings.Repeat("cd", 32), map[string]string{"sick@1": "boots into the wrong domain"})
	s.files = readMetadata(dir)
	s.root = s.files["1.root.json"]
	return s
}

// readMetadata returns all metadata of the catalog in a folder.
func readMetadata(dir string) map[string][]byte {
	files := map[string][]byte{}
	paths, err := filepath.Glob(filepath.Join(dir, "metadata", "*.json"))
	if err != nil {
		panic(err)
	}
	for _, path := range paths {
		p, err := os.ReadFile(path)
		if err != nil {
			panic(err)
		}
		files[filepath.Base(path)] = p
	}
	return files
}

// prove returns the proof of a job, as the server gives it.
func (r *room) prove(job *wire.Job, nonce string) json.RawMessage {
	if r.ghost != nil || r.shop == nil || job == nil || job.Kind != wire.Restore || len(job.Digest) != 64 {
		return r.ghost
	}
	n, err := trust.ParseNonce(nonce)
	if err != nil {
		panic(err)
	}
	c := trust.Claims{
		Nonce: n, Machine: "00:00:5e:00:53:01", Time: r.shop.now, Versions: r.shop.versions,
		Job: job.ID, Image: job.Digest, Plan: job.PlanDigest(),
	}
	key := r.shop.online
	if r.proof != nil {
		r.proof(&c)
	}
	p, err := trust.SignTicket(c, key)
	if err != nil {
		panic(err)
	}
	return p
}

// Whatever a server, or somebody in its place, says: a machine restores what the
// catalog that it trusts lets it have now, and nothing else, and finds out before
// it looks at a disk.
func TestRestoresWhatIsReleasedOnly(t *testing.T) {
	other := newShop()
	replayed := (&room{shop: testShop()}).prove(restoreJob(), strings.Repeat("01", 32))
	tests := []struct {
		name  string
		spoil func(r *room, job *wire.Job)
		want  string
	}{
		{"no root", func(r *room, _ *wire.Job) { r.trust = nil }, "this boot environment knows no catalog, so nothing may be restored; slipcast catalog init makes one on the server"},
		{"no catalog", func(r *room, _ *wire.Job) { r.files = nil }, "the catalog: timestamp.json: the server has no timestamp.json: file does not exist"},
		{"another catalog", func(r *room, _ *wire.Job) { r.shop, r.files = other, other.files }, "not signed by the right keys"},
		{"no proof", func(r *room, _ *wire.Job) { r.shop = nil }, "the server has not proved that the job is its own, so nothing is restored"},
		{"nonsense for a proof", func(r *room, _ *wire.Job) { r.ghost = json.RawMessage("{}") }, "the catalog: ticket: "},
		{"a replayed proof", func(r *room, _ *wire.Job) { r.ghost = replayed }, "not the ticket that was asked for: it answers another request"},
		{"another machine's proof", func(r *room, _ *wire.Job) { r.proof = func(c *trust.Claims) { c.Machine = "00:00:5e:00:53:02" } }, `not the ticket that was asked for: it is for the machine "00:00:5e:00:53:02", not for "00:00:5e:00:53:01"`},
		{"another job's proof", func(r *room, _ *wire.Job) { r.proof = func(c *trust.Claims) { c.Job = "6" } }, `not the ticket that was asked for: it is for job "6", and this is job "7"`},
		{"a proof for another image", func(r *room, _ *wire.Job) { r.proof = func(c *trust.Claims) { c.Image = sickDigest } }, "not the ticket that was asked for: it is for another image"},
		{"a proof for no bundles", func(r *room, job *wire.Job) {
			job.Apply = []string{"*"}
			r.proof = func(c *trust.Claims) { c.Plan = "" }
		}, "not the ticket that was asked for: it is for other bundles"},
		{"an old catalog", func(r *room, _ *wire.Job) { r.files = r.shop.old }, "older than what is known"},
		{"an old list in a new catalog", func(r *room, _ *wire.Job) {
			r.files = maps.Clone(r.files)
			r.files["4.targets.json"] = r.files["2.targets.json"]
		}, "does not belong to the rest of the catalog"},
		{"an endless list", func(r *room, _ *wire.Job) {
			r.files = maps.Clone(r.files)
			r.files["timestamp.json"] = make([]byte, 1<<20)
		}, "malformed: more than 65536 bytes"},
		{"a recalled image", func(_ *room, job *wire.Job) { job.Image, job.Digest = "sick@1", sickDigest }, "the image sick@1 was recalled: boots into the wrong domain"},
		{"a recalled image under another name", func(_ *room, job *wire.Job) { job.Digest = sickDigest }, "the image sick@1 was recalled: boots into the wrong domain"},
		{"another image under the name", func(_ *room, job *wire.Job) { job.Digest = strings.Repeat("ef", 32) },
			"the image lab@3 that was released is another one: its digest is " + testDigest + ", that of the job " + strings.Repeat("ef", 32)},
		{"the image under another name", func(_ *room, job *wire.Job) { job.Image = "lab@5" }, "the image lab@5 is not released"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				job := restoreJob()
				r := newRoom(job)
				r.onHold = func() { t.Error("a disk is held") }
				tt.spoil(r, job)
				if f := r.run(t); f != (fate{wire.Reboot, false}) {
					t.Errorf("ends with %+v, want a reboot to the disk of before", f)
				}
				if last := r.last(); last.State != wire.Failed || !strings.Contains(last.Error, tt.want) {
					t.Errorf("last report %s: %s\nwant failed: %s", last.State, last.Error, tt.want)
				}
				if r.looks > 0 || len(r.ran) > 0 || len(r.restored) > 0 {
					t.Errorf("looked for disks %d times, ran %q, handed over %q; want that nothing was touched", r.looks, r.ran, r.restored)
				}
			})
		})
	}
}

// The clock of the machine may say what it likes.
func TestRestoreAtAnyTime(t *testing.T) {
	for _, year := range []int{2009, 2026, 2036} {
		t.Run(fmt.Sprint(year), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(time.Until(time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC)))
				r := newRoom(restoreJob())
				r.run(t)
				if last := r.last(); last.State != wire.Done || len(r.ran) != 1 {
					t.Errorf("in %d: %s: %s, ran %q; want it restored", year, last.State, last.Error, r.ran)
				}
			})
		})
	}
}

// Jobs that give the machine nothing need no catalog.
func TestJobsWithoutCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []wire.Kind{wire.Survey, wire.Wipe} {
			r := newRoom(&wire.Job{ID: "7", Kind: kind})
			r.shop, r.trust, r.files = nil, nil, nil
			r.run(t)
			if last := r.last(); last.State != wire.Done {
				t.Errorf("%s: %s: %s, want it done", kind, last.State, last.Error)
			}
		}
	})
}

// Each request for a job has a nonce of its own, also when one is sent again.
func TestNonces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := restoreJob()
		job.End = wire.Stay
		r := newRoom(job)
		second := restoreJob()
		second.ID = "8"
		r.welcomes = append(r.welcomes, wire.Welcome{Schema: 1, Machine: "pc-1", Job: second})
		var nonces []string
		r.proof = func(c *trust.Claims) { nonces = append(nonces, c.Nonce.String()) }
		r.run(t)
		slices.Sort(nonces)
		if len(slices.Compact(slices.Clone(nonces))) != 2 || len(r.ran) != 2 {
			t.Errorf("nonces %q, ran %d; want two of each", nonces, len(r.ran))
		}
	})
}

// A server that goes away while the catalog is read is waited for.
func TestCatalogLaterOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(restoreJob())
		files := r.files
		r.files = nil
		r.proof = func(*trust.Claims) {
			go func() {
				r.mu.Lock()
				r.down = true
				r.mu.Unlock()
				time.Sleep(3 * time.Minute)
				r.mu.Lock()
				r.down, r.files = false, files
				r.mu.Unlock()
			}()
		}
		r.run(t)
		if last := r.last(); last.State != wire.Done {
			t.Errorf("%s: %s, want it restored", last.State, last.Error)
		}
	})
}
