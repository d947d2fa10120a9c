package debian

import (
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/ulikunitz/xz"

	"slipcast/catalog/version"
)

const (
	maxList     = 64 << 20  // largest compressed list of packages; trixie's is 10 MB
	maxListText = 512 << 20 // largest list of packages; trixie's is 57 MB
	maxPackages = 1 << 20   // most packages of a list; trixie has 70,000
)

// A Package is one package of an archive.
type Package struct {
	Name         string
	Version      version.Version
	Architecture string            // "amd64", or "all"
	Depends      string            // as in its control file: "kmod, initramfs-tools (>= 0.120) | linux-initramfs-tool"
	Filename     string            // its path in the mirror
	SHA256       [sha256.Size]byte // of the .deb file
	Size         int64             // of the .deb file, in bytes
	Suite        string            // where it was found
}

// An index holds the newest version of each package, about 350 bytes for
// each.
type index map[string]Package

// read adds the packages of a list, in plain text, to the index. A package
// that the index has in the same or a newer version is passed over. An error
// wraps [ErrMalformed] or is that of r.
func (x index) read(r io.Reader, suite string) error {
	count := 0
	for s, err := range stanzas(r, "package", "version", "architecture", "depends", "filename", "sha256", "size") {
		if err != nil {
			return err
		}
		p, err := parsePackage(s)
		if err != nil {
			return err
		}
		if count++; count > maxPackages {
			return fmt.Errorf("%w: more than %d packages", ErrMalformed, maxPackages)
		}
		p.Suite = suite
		old, known := x[p.Name]
		order := 1
		if known {
			if order, err = p.Version.Compare(old.Version); err != nil {
				return err
			}
		}
		if order > 0 {
			x[p.Name] = p
		}
	}
	return nil
}

// parsePackage takes a package from its paragraph in a list.
func parsePackage(s stanza) (Package, error) {
	p := Package{Name: s["package"], Architecture: s["architecture"], Depends: s["depends"], Filename: s["filename"]}
	if !isName(p.Name) {
		return p, fmt.Errorf("%w: name of package %.100q", ErrMalformed, p.Name)
	}
	if !fs.ValidPath(p.Filename) || !strings.HasSuffix(p.Filename, ".deb") {
		return p, fmt.Errorf("%w: file name %.200q of package %s", ErrMalformed, p.Filename, p.Name)
	}
	var err error
	if p.Version, err = version.Parse("deb", s["version"]); err != nil {
		return p, fmt.Errorf("%w: package %s: %w", ErrMalformed, p.Name, err)
	}
	if p.SHA256, err = parseDigest(s["sha256"]); err != nil {
		return p, fmt.Errorf("package %s: %w", p.Name, err)
	}
	if p.Size, err = parseSize(s["size"]); err != nil {
		return p, fmt.Errorf("package %s: %w", p.Name, err)
	}
	return p, nil
}

// dependency returns the first package that p depends on whose name begins
// with prefix, without regard to versions and alternatives; "" if there is
// none.
func (p Package) dependency(prefix string) string {
	for entry := range strings.FieldsFuncSeq(p.Depends, func(r rune) bool { return r == ',' || r == '|' }) {
		name, _, _ := strings.Cut(strings.TrimSpace(entry), " ")
		name, _, _ = strings.Cut(name, ":") // linux-image:amd64
		if strings.HasPrefix(name, prefix) && isName(name) {
			return name
		}
	}
	return ""
}

// readFile adds the packages of a list in a compressed file.
func (x index) readFile(path, suite string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var text io.Reader
	if strings.HasSuffix(path, ".gz") {
		text, err = gzip.NewReader(f)
	} else {
		text, err = xz.NewReader(f)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	limited := &io.LimitedReader{R: text, N: maxListText}
	if err := x.read(limited, suite); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if limited.N <= 0 {
		return fmt.Errorf("%s: %w: more than %d bytes of text", path, ErrMalformed, maxListText)
	}
	return nil
}
