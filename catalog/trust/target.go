package trust

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/sync/errgroup"

	"slipcast/catalog/bundle"
)

// Beginnings of the names of targets, section 7.3.
const (
	bundlePrefix = "bundles/"
	imagePrefix  = "images/"
)

// A custom is what a catalog says of a target beyond its digest. Kind says which
// fields there are.
type custom struct {
	Kind     string          `json:"kind"`
	Digest   string          `json:"digest,omitempty"` // of a bundle
	Header   json.RawMessage `json:"header,omitempty"`
	Author   string          `json:"author,omitempty"`
	Parent   string          `json:"parent,omitempty"` // of an image
	Bundles  []string        `json:"bundles,omitempty"`
	Recalled *recall         `json:"recalled,omitempty"`
}

// A recall says why a target is not to be used any more.
type recall struct {
	Reason string `json:"reason"`
}

// Forms of what stands in a target.
var (
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
	authorForm = regexp.MustCompile(`^[0-9A-F]{16}$`)
	imageForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`) // a name or a version in a store: format.md, section 16
)

// Bounds of texts and lists in targets.
const (
	maxReason = 1 << 10 // bytes
	maxBaked  = 4096    // bundles in an image
)

// take takes over all targets, each of which must be as section 7.3 says. Headers
// have conditions that are compiled, so all processors work on them.
func (c *Catalog) take(t *metadata.TargetsType) error {
	if t.Delegations != nil {
		return malformed("it delegates")
	}
	names := slices.Sorted(maps.Keys(t.Targets))
	taken, errs := make([]target, len(names)), make([]error, len(names))
	var g errgroup.Group
	workers := runtime.GOMAXPROCS(0)
	for w := range workers {
		g.Go(func() error {
			for i := w; i < len(names); i += workers {
				taken[i], errs[i] = decodeTarget(names[i], t.Targets[names[i]])
			}
			return nil
		})
	}
	_ = g.Wait() // errs has what went wrong
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("the target %.100q: %w", names[i], err)
		}
		if taken[i].bundle != nil {
			c.Bundles = append(c.Bundles, *taken[i].bundle)
		} else {
			c.Images = append(c.Images, *taken[i].image)
		}
	}
	return nil
}

// A target is a bundle or an image.
type target struct {
	bundle *BundleTarget
	image  *ImageTarget
}

// decodeTarget reads one target.
func decodeTarget(name string, f *metadata.TargetFiles) (t target, err error) {
	if len(f.Hashes) != 1 || len(f.Hashes["sha256"]) != sha256.Size || f.Length < 1 || f.Custom == nil || len(f.UnrecognizedFields) > 0 {
		return t, malformed("want length, hashes with SHA-256 alone, and custom")
	}
	about, err := decodeCustom(*f.Custom)
	if err != nil {
		return t, err
	}
	digest := hex.EncodeToString(f.Hashes["sha256"])
	switch about.Kind {
	case "bundle":
		t.bundle, err = about.bundle(name, File{digest, f.Length})
	case "image":
		t.image, err = about.image(name, digest, f.Length)
	default:
		err = malformed("kind %.20q", about.Kind)
	}
	return t, err
}

// decodeCustom reads what a catalog says of a target: no other keys than there are.
func decodeCustom(p []byte) (*custom, error) {
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	var about custom
	if err := d.Decode(&about); err != nil {
		return nil, malformed("custom: %v", err)
	}
	if r := about.Recalled; r != nil && (r.Reason == "" || len(r.Reason) > maxReason) {
		return nil, malformed("recalled: want a reason of 1 to %d bytes", maxReason)
	}
	return &about, nil
}

// bundle returns the bundle that is called name.
func (about *custom) bundle(name string, f File) (*BundleTarget, error) {
	if about.Parent != "" || about.Bundles != nil {
		return nil, malformed("a bundle with what an image has")
	}
	h, err := bundle.DecodeHeader(about.Header)
	if err != nil {
		return nil, malformed("header: %v", err)
	}
	b := &BundleTarget{Header: *h, Digest: about.Digest, File: f, Author: about.Author, Recalled: about.reason()}
	switch {
	case bundlePrefix+b.ID() != name:
		return nil, malformed("its header is of %s", b.ID())
	case !digestForm.MatchString(b.Digest):
		return nil, malformed("digest %.100q", b.Digest)
	case b.Author != "" && !authorForm.MatchString(b.Author):
		return nil, malformed("author %.100q", b.Author)
	}
	return b, nil
}

// image returns the image that is called name.
func (about *custom) image(name, digest string, size int64) (*ImageTarget, error) {
	if about.Digest != "" || about.Header != nil || about.Author != "" {
		return nil, malformed("an image with what a bundle has")
	}
	i := &ImageTarget{Digest: digest, Size: size, Parent: about.Parent, Bundles: about.Bundles, Recalled: about.reason()}
	id, ok := strings.CutPrefix(name, imagePrefix)
	i.Name, i.Version, _ = strings.Cut(id, "@")
	if !ok {
		return nil, malformed("an image is called %sNAME@VERSION", imagePrefix)
	}
	return i, i.check()
}

// check makes sure that an image is one that a catalog can list.
func (i *ImageTarget) check() error {
	switch {
	case !imageForm.MatchString(i.Name) || !imageForm.MatchString(i.Version):
		return malformed("the image %.140q: want NAME@VERSION of a store", i.ID())
	case !digestForm.MatchString(i.Digest) || i.Size < 1:
		return malformed("the image %s: want a digest and a size", i.ID())
	case i.Parent != "" && !digestForm.MatchString(i.Parent):
		return malformed("parent %.100q", i.Parent)
	case len(i.Bundles) > maxBaked:
		return malformed("%d bundles baked in, want at most %d", len(i.Bundles), maxBaked)
	}
	for _, id := range i.Bundles {
		if _, err := bundle.ParseID(id); err != nil {
			return malformed("baked in: %v", err)
		}
	}
	return nil
}

func (about *custom) reason() string {
	if about.Recalled == nil {
		return ""
	}
	return about.Recalled.Reason
}

// target returns b as it stands in the targets.
func (b *BundleTarget) target() (*metadata.TargetFiles, error) {
	header, err := b.Header.Encode()
	if err != nil {
		return nil, err
	}
	return newTarget(b.File.SHA256, b.File.Size, custom{
		Kind: "bundle", Digest: b.Digest, Header: header, Author: b.Author, Recalled: newRecall(b.Recalled),
	})
}

// target returns i as it stands in the targets.
func (i *ImageTarget) target() (*metadata.TargetFiles, error) {
	return newTarget(i.Digest, i.Size, custom{Kind: "image", Parent: i.Parent, Bundles: i.Bundles, Recalled: newRecall(i.Recalled)})
}

func newRecall(reason string) *recall {
	if reason == "" {
		return nil
	}
	return &recall{reason}
}

func newTarget(digest string, size int64, about custom) (*metadata.TargetFiles, error) {
	sum, err := hex.DecodeString(digest)
	if err != nil {
		return nil, err
	}
	raw, err := about.encode()
	return &metadata.TargetFiles{Length: size, Hashes: metadata.Hashes{"sha256": sum}, Custom: raw}, err
}

// encode returns what decodeCustom reads.
func (about *custom) encode() (*json.RawMessage, error) {
	p, err := json.Marshal(about)
	raw := json.RawMessage(p)
	return &raw, err
}
