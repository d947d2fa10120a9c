package bundle

// A Manifest is all of a bundle but the contents of its files: docs/bundles.md,
// section 5. Its JSON, in the order of these fields, is what is digested and
// signed.
type Manifest struct {
	Header
	Allow   []string  `json:"allow,omitempty"`   // "setuid": entries may have that bit, or setgid
	Payload []Payload `json:"payload,omitempty"` // in the order in which it is applied
	Run     []Run     `json:"run,omitempty"`     // likewise, within each phase
	Files   []File    `json:"files,omitempty"`   // contents, by number
}

// A Header is what planning needs of a bundle. It stands in the catalog as
// well, so that nobody need open thousands of files to make a plan.
type Header struct {
	Schema     int         `json:"schema,omitempty"` // 1
	Name       string      `json:"name,omitempty"`
	Track      string      `json:"track,omitempty"`
	Version    string      `json:"version,omitempty"`
	Scheme     string      `json:"scheme,omitempty"`
	Release    int         `json:"release,omitempty"` // from 1
	Title      string      `json:"title,omitempty"`
	Severity   Severity    `json:"severity,omitempty"`
	Kind       Kind        `json:"kind,omitempty"`
	Advisories []string    `json:"advisories,omitempty"`
	Family     string      `json:"family,omitempty"`  // linux or windows
	Applies    string      `json:"applies,omitempty"` // a condition; empty is yes
	Requires   []Reference `json:"requires,omitempty"`
	From       []From      `json:"upgrades_from,omitempty"` // empty: from nothing and from any lower version
	Supersedes []Reference `json:"supersedes,omitempty"`
	Conflicts  []Reference `json:"conflicts,omitempty"`
	Detect     Detect      `json:"detect,omitzero"`
	Reboot     Reboot      `json:"reboot,omitempty"`
	Rollback   Rollback    `json:"rollback,omitempty"`
	Params     []Param     `json:"params,omitempty"` // ordered by name
	Needs      Needs       `json:"needs,omitzero"`
	Machine    bool        `json:"machine_specific,omitempty"` // a condition or a parameter asks for the machine
}

// A Severity says how much it matters that a bundle is missing.
type Severity string

// The severities, from the highest. The empty one is Low.
const (
	Critical  Severity = "critical"
	Important Severity = "important"
	Moderate  Severity = "moderate"
	Low       Severity = "low"
)

// A Kind says what a bundle brings.
type Kind string

// The kinds. The empty one is Patch. A Collection has no payload, only
// Requires.
const (
	Patch      Kind = "patch"
	App        Kind = "app"
	Driver     Kind = "driver"
	Config     Kind = "config"
	Data       Kind = "data"
	Collection Kind = "collection"
)

// A Reboot says what a system that runs needs after a bundle. It does not
// matter to one that is not running.
type Reboot string

// The reboot policies. The empty one is Never.
const (
	Never    Reboot = "never"
	Deferred Reboot = "deferred" // takes effect with the next one, whenever that is
	Required Reboot = "required" // once, after all bundles of a plan
	Between  Reboot = "between"  // before any bundle that comes after it in a plan
)

// A Rollback says how a bundle is undone.
type Rollback string

// The ways back. The empty one is Files: the tree is as it was.
const (
	Files   Rollback = "files"
	Reimage Rollback = "reimage" // restore the image: the bundle changes what is not in files
)

// A Reference names versions of a product.
type Reference struct {
	Product string `json:"product,omitempty"` // NAME or NAME/TRACK
	Range   string `json:"range,omitempty"`   // in the scheme of the product; empty is any
}

// A From is what a bundle can be put onto.
type From struct {
	Nothing bool   `json:"nothing,omitempty"` // where the product is not installed
	Range   string `json:"range,omitempty"`   // onto these versions of it
}

// Detect says how to find out which version of the product is on a root. The
// zero value looks at the payload: installed is what lies there as the bundle
// would leave it.
type Detect struct {
	Version string `json:"version,omitempty"` // a condition that gives text: the version, empty for none
	Present string `json:"present,omitempty"` // a condition: whether this very version is there
}

// A Param is a setting of a bundle that a site can change.
type Param struct {
	Name    string `json:"name,omitempty"` // letters, digits and _, at most 64
	Title   string `json:"title,omitempty"`
	Default string `json:"default,omitempty"`
	Secret  bool   `json:"secret,omitempty"`  // never shown and never logged
	Machine string `json:"machine,omitempty"` // filled in from the machine: name, uuid, mac or serial
}

// Needs are what a root must have for a bundle.
type Needs struct {
	Bytes    int64    `json:"bytes,omitempty"` // beyond what the payload takes, for scripts
	Inodes   int64    `json:"inodes,omitempty"`
	Commands []string `json:"commands,omitempty"` // that must be in the root's PATH
}

// A Payload is one set of changes; exactly one field is set.
type Payload struct {
	Overlay *Overlay  `json:"overlay,omitempty"`
	Deb     []Package `json:"deb,omitempty"`
	RPM     []Package `json:"rpm,omitempty"`
	Line    *Line     `json:"line,omitempty"`
	Ini     *Ini      `json:"ini,omitempty"`
}

// An Overlay is files laid over the root, and names taken away from it.
type Overlay struct {
	Entries []Entry  `json:"entries,omitempty"` // ordered by path, a directory before what is in it
	Delete  []string `json:"delete,omitempty"`  // ordered; a directory goes with all that is in it
}

// An EntryType is what lies at a path.
type EntryType string

// The types of entries.
const (
	RegularFile EntryType = "file"
	Directory   EntryType = "dir"
	Symlink     EntryType = "symlink"
	Hardlink    EntryType = "hardlink" // to another entry of the same overlay, before it
)

// An Entry is one file of an overlay. Paths are relative to the root, with
// slashes, clean, and never "." or with "..".
type Entry struct {
	Path   string    `json:"path,omitempty"`
	Type   EntryType `json:"type,omitempty"`
	Mode   uint32    `json:"mode,omitempty"` // permission bits, sticky, and setuid or setgid if Manifest.Allow says so
	UID    uint32    `json:"uid,omitempty"`
	GID    uint32    `json:"gid,omitempty"`
	Xattrs []Xattr   `json:"xattrs,omitempty"` // ordered by name
	Link   string    `json:"link,omitempty"`   // of a symlink: its text; of a hardlink: Path of the other
	Data   int       `json:"data,omitempty"`   // of a file: number in Files
	Expand bool      `json:"expand,omitempty"` // {{NAME}} in the contents stands for a parameter
}

// An Xattr is an extended attribute.
type Xattr struct {
	Name  string `json:"name,omitempty"`
	Value []byte `json:"value,omitempty"` // base64 in JSON
}

// A Package is a package of the root's own package manager.
type Package struct {
	Data    int    `json:"data,omitempty"` // number in Files
	File    string `json:"file,omitempty"` // the name of the package's file, for dpkg, rpm and people
	Name    string `json:"name,omitempty"`
	Version string `json:"version,omitempty"`
	Arch    string `json:"arch,omitempty"` // as the package says it
}

// A Line makes sure of a line in a text file.
type Line struct {
	Path   string `json:"path,omitempty"`
	Match  string `json:"match,omitempty"`  // regexp (RE2): the last line that matches is replaced; empty is Line itself
	Line   string `json:"line,omitempty"`   // without its end; empty if Absent
	After  string `json:"after,omitempty"`  // regexp: a new line goes after the last that matches; empty, or without such a line: at the end
	Absent bool   `json:"absent,omitempty"` // lines that match are taken away
	Create bool   `json:"create,omitempty"` // the file, 0644 of 0:0, if it is not there
}

// An Ini makes sure of a setting in a file of sections, keys and values.
type Ini struct {
	Path    string `json:"path,omitempty"`
	Section string `json:"section,omitempty"` // empty: before the first
	Key     string `json:"key,omitempty"`
	Value   string `json:"value,omitempty"`
	Absent  bool   `json:"absent,omitempty"` // the key is taken away
	Create  bool   `json:"create,omitempty"`
}

// A Phase says when a program runs.
type Phase string

// The phases.
const (
	Pre       Phase = "pre"       // before the payload; a code that is not in OK ends the bundle, and nothing was changed
	Post      Phase = "post"      // after the payload, part of the same transaction
	FirstBoot Phase = "firstboot" // when the system itself runs the next time
)

// A Retry says what becomes of a first-boot program that was cut short.
type Retry string

// The retries. The empty one is Safe.
const (
	Safe  Retry = "safe"  // it is run again
	NoRun Retry = "never" // it is not: the bundle has failed
)

// A Run is a program that a bundle runs.
type Run struct {
	Phase   Phase    `json:"phase,omitempty"`
	Exec    []string `json:"exec,omitempty"`            // program and arguments; {{NAME}} stands for a parameter
	Scripts []Script `json:"scripts,omitempty"`         // files that are there while it runs
	Net     bool     `json:"net,omitempty"`             // it may use the network
	Timeout int      `json:"timeout_seconds,omitempty"` // from 1 to 86400
	OK      []int    `json:"ok,omitempty"`              // exit codes that are success, ordered
	Reboot  []int    `json:"reboot_codes,omitempty"`    // that are success and want a reboot
	Retry   Retry    `json:"retry,omitempty"`           // of FirstBoot
}

// A Script is a file that a program of a bundle finds in its folder.
type Script struct {
	Name string `json:"name,omitempty"` // a file name, no path
	Mode uint32 `json:"mode,omitempty"` // 0755 or 0644
	Data int    `json:"data,omitempty"` // number in Files
}

// A File is the contents of one or more files of a bundle.
type File struct {
	Size   int64  `json:"size,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // in hexadecimal
	Offset int64  `json:"offset,omitempty"` // of the contents in the tar stream, counted from the end of manifest.json with its padding
}
