package bundle

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Bounds of names and versions, section 1.
const (
	longestName    = 64
	longestVersion = 256
	maxRelease     = 1<<31 - 1
)

var (
	namePattern    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`)
	versionPattern = regexp.MustCompile(`^[0-9A-Za-z.+~^:_-]+$`)
)

// An ID names one bundle.
type ID struct {
	Name    string
	Track   string // empty for a product without tracks
	Version string
	Release int // from 1
}

// ParseID reads NAME@VERSION-RELEASE or NAME/TRACK@VERSION-RELEASE. Whether
// the version is one of its scheme is not looked at.
func ParseID(text string) (ID, error) {
	product, rest, ok := strings.Cut(text, "@")
	dash := strings.LastIndexByte(rest, '-')
	if !ok || dash < 0 {
		return ID{}, fmt.Errorf("%q: want NAME@VERSION-RELEASE", text)
	}
	name, track, err := ParseProduct(product)
	if err != nil {
		return ID{}, err
	}
	release, err := strconv.Atoi(rest[dash+1:])
	if err != nil || release < 1 || release > maxRelease || strconv.Itoa(release) != rest[dash+1:] {
		return ID{}, fmt.Errorf("%q: release %q, want a whole number from 1", text, rest[dash+1:])
	}
	if err := checkVersionText(rest[:dash]); err != nil {
		return ID{}, fmt.Errorf("%q: %w", text, err)
	}
	return ID{Name: name, Track: track, Version: rest[:dash], Release: release}, nil
}

// ParseProduct reads NAME or NAME/TRACK.
func ParseProduct(text string) (name, track string, err error) {
	name, track, ok := strings.Cut(text, "/")
	if err := checkName(name); err != nil {
		return "", "", err
	}
	if ok {
		err = checkName(track)
	}
	return name, track, err
}

// String returns NAME@VERSION-RELEASE, with /TRACK behind the name if there is
// one.
func (id ID) String() string {
	return id.Product() + "@" + id.Version + "-" + strconv.Itoa(id.Release)
}

// Product returns NAME, or NAME/TRACK.
func (id ID) Product() string {
	if id.Track == "" {
		return id.Name
	}
	return id.Name + "/" + id.Track
}

// FileName returns what the file of the bundle is called when nobody says:
// the ID with + for the slash and %3a for a colon, so that every file system
// takes it, and .slb at its end.
func (id ID) FileName() string {
	return strings.NewReplacer("/", "+", ":", "%3a").Replace(id.String()) + ".slb"
}

// Ident returns the ID of the bundle in parts.
func (h *Header) Ident() ID {
	return ID{Name: h.Name, Track: h.Track, Version: h.Version, Release: h.Release}
}

// ID returns NAME@VERSION-RELEASE, or NAME/TRACK@VERSION-RELEASE.
func (h *Header) ID() string { return h.Ident().String() }

// Product returns NAME, or NAME/TRACK: what the versions of the bundle are
// versions of.
func (h *Header) Product() string { return h.Ident().Product() }

// checkName checks the name of a product or a track.
func checkName(text string) error {
	if len(text) > longestName || !namePattern.MatchString(text) {
		return fmt.Errorf("name %q: want 1 to %d of a-z, 0-9, . and -, beginning with a letter or a digit", text, longestName)
	}
	return nil
}

// checkVersionText checks the letters of a version. Its scheme is another matter.
func checkVersionText(text string) error {
	if len(text) > longestVersion || !versionPattern.MatchString(text) {
		return fmt.Errorf("version %q: want 1 to %d letters, digits and .+~^:_-", text, longestVersion)
	}
	return nil
}
