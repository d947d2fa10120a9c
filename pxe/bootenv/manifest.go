package bootenv

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"
)

// ManifestFile is the name of the manifest in a boot folder.
const ManifestFile = "boot.json"

// ManifestSchema is the version of the manifest.
const ManifestSchema = 1

const (
	maxManifest = 4 << 20 // bytes
	maxBootFile = 2 << 30 // bytes of one file of a boot folder
)

// An Arch is a processor in the words of docs/boot.md.
type Arch string

// The architectures that boot folders are made for.
const (
	X64   Arch = "x64"
	ARM64 Arch = "arm64"
)

// A Manifest says what is in a boot folder; it is the file boot.json.
type Manifest struct {
	Schema int                  `json:"schema"`
	Arch   map[Arch]Environment `json:"arch"`
	Files  map[string]File      `json:"files"` // by their paths below the folder
}

// An Environment is the boot environment for one architecture.
type Environment struct {
	Built       time.Time `json:"built"`
	Builder     string    `json:"slipcast"` // version of slipcast
	Kernel      string    `json:"kernel"`   // version
	Set         string    `json:"set"`      // of modules
	Trimmed     bool      `json:"trimmed,omitempty"`
	Modules     int       `json:"modules"`
	ModuleBytes int64     `json:"module_bytes"`
	AgentBytes  int64     `json:"agent_bytes"`
	RawBytes    int64     `json:"initrd_raw_bytes"` // of the initramfs before compression
	Firmware    []string  `json:"firmware"`         // names of the files inside
	FirmBytes   int64     `json:"firmware_bytes"`
	Missing     []string  `json:"missing_firmware,omitempty"`  // that a module may ask for, and nobody gave
	TooLarge    []string  `json:"firmware_left_out,omitempty"` // for its size
}

// A File is one file of a boot folder.
type File struct {
	Size    int64    `json:"size_bytes"`
	SHA256  string   `json:"sha256"`
	Package string   `json:"package,omitempty"` // that it came from, or the file that it is a copy of
	Version string   `json:"version,omitempty"`
	Suite   string   `json:"suite,omitempty"`
	Signers []string `json:"signers,omitempty"` // names of the certificates
}

// An origin says where a file came from.
type origin struct {
	Package, Version, Suite string
}

// describe returns what the manifest says of a file.
func describe(data []byte, from origin) File {
	digest := sha256.Sum256(data)
	return File{
		Size: int64(len(data)), SHA256: hex.EncodeToString(digest[:]),
		Package: from.Package, Version: from.Version, Suite: from.Suite,
	}
}

// ReadManifest reads the manifest of the boot folder at dir. The error wraps
// [fs.ErrNotExist] if there is none, and [ErrMalformed] if it is damaged.
func ReadManifest(dir string) (*Manifest, error) {
	name := filepath.Join(dir, ManifestFile)
	data, err := readFile(name, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return m, nil
}

// parseManifest reads a manifest and checks what is in it.
func parseManifest(data []byte) (*Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if m.Schema != ManifestSchema {
		return nil, fmt.Errorf("%w: schema %d, want %d", ErrMalformed, m.Schema, ManifestSchema)
	}
	for arch := range m.Arch {
		if arch != X64 && arch != ARM64 {
			return nil, fmt.Errorf("%w: architecture %.20q", ErrMalformed, arch)
		}
	}
	for name, f := range m.Files {
		digest, err := hex.DecodeString(f.SHA256)
		if !fs.ValidPath(name) || name == "." || err != nil || len(digest) != sha256.Size || f.Size < 0 || f.Size > maxBootFile {
			return nil, fmt.Errorf("%w: what it says of %.100q", ErrMalformed, name)
		}
	}
	return &m, nil
}

// encode returns the text of a manifest.
func (m *Manifest) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
