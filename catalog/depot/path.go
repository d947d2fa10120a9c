package depot

import (
	"path"
	"regexp"
	"strings"

	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
)

// Paths of what is brought, below the folder of a store, section 12.1.
var (
	metadataForm = regexp.MustCompile(`^catalog/metadata/(timestamp|[1-9][0-9]{0,9}\.(root|targets|snapshot))\.json$`)
	bundleForm   = regexp.MustCompile(`^catalog/bundles/([0-9a-f]{64})\.slb$`)
	frameForm    = regexp.MustCompile(`^frames/(18|19|20|21|22|23|24)/([0-9a-f]{2})/([0-9a-f]{64})$`)
)

// Folders in a store.
const (
	catalogFolder  = "catalog"
	metadataFolder = "catalog/metadata"
	bundlesFolder  = "catalog/bundles"
	imagesFolder   = "images"
	framesFolder   = "frames"
	timestampFile  = "timestamp.json"
	partialEnding  = ".partial"
)

func metadataPath(name string) string      { return metadataFolder + "/" + name }
func bundlePath(f trust.File) string       { return bundlesFolder + "/" + f.SHA256 + ".slb" }
func imagePath(r store.Ref) string         { return path.Join(imagesFolder, r.Name, r.Version) }
func refOf(i *trust.ImageTarget) store.Ref { return store.Ref{Name: i.Name, Version: i.Version} }

func framePath(d image.Digest, chunkSize int64) string {
	return framesFolder + "/" + store.FrameName(d, chunkSize)
}

// parseImagePath returns which image the version file at a path is of.
func parseImagePath(p string) (store.Ref, bool) {
	rest, ok := strings.CutPrefix(p, imagesFolder+"/")
	name, version, both := strings.Cut(rest, "/")
	if !ok || !both || strings.Contains(rest, "@") {
		return store.Ref{}, false
	}
	r, err := store.ParseRef(name + "@" + version)
	return r, err == nil
}

// parseFramePath returns which chunk the frame at a path is of.
func parseFramePath(p string) (d image.Digest, chunkSize int64, ok bool) {
	m := frameForm.FindStringSubmatch(p)
	if m == nil || m[3][:2] != m[2] {
		return d, 0, false
	}
	if d, ok = parseDigest(m[3]); !ok {
		return d, 0, false
	}
	shift := int(m[1][0]-'0')*10 + int(m[1][1]-'0')
	return d, 1 << shift, true
}
