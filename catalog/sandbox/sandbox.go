package sandbox

import (
	"context"
	"errors"
	"io"
	"time"

	"slipcast/catalog/root"
)

// Arg0 is the first argument of a process that must call [Main] at once.
const Arg0 = "slipcast-sandbox"

// Main is what the process inside of a sandbox runs. It returns its exit code.
func Main() int { return 1 }

// Options change what programs see. The zero value is the default.
type Options struct {
	Processes int // that may exist at once; 0 is 512
}

// An Overlay is a root with a layer over it that takes all writes. Its methods
// must not be called by two goroutines at once.
type Overlay struct{}

// New lays an overlay over r. The scratch folder must be empty and have room for
// what will be written; it may lie on a tmpfs. It stays the caller's, to be removed after Close.
func New(ctx context.Context, r *root.Root, scratch string, opt Options) (*Overlay, error) {
	return nil, errors.ErrUnsupported
}

// Root returns the tree as programs see it. It can be written to.
func (o *Overlay) Root() *root.Root { return nil }

// Close ends the overlay. The scratch folder may be removed afterwards, and the
// contents of changes are not to be opened any more.
func (o *Overlay) Close() error { return nil }

// A Program is what Run runs.
type Program struct {
	Exec    []string          // name and arguments; a name with a slash is a path from the folder of Files, another is looked for in PATH
	Env     map[string]string // beyond what every program has
	Files   []File            // that it finds in the folder named by SLIPCAST_FILES, which is also where it starts
	Net     bool              // it may use the network
	Timeout time.Duration     // 0: none but that of the context
	Line    func(line string) // is called with each line of output, without its end; nil if nobody wants them
}

// A File is shown to a program, read-only.
type File struct {
	Name   string // a file name, no path
	Source string // the path of the file outside of the root
}

// A Result is how a program ended.
type Result struct {
	Code   int    // exit code; 128 and the number of the signal that ended it
	Output string // the end of its output, at most 64 KiB
}

// ErrTimeout reports a program that ran too long.
var ErrTimeout = errors.New("timed out")

// Run runs a program. Its exit code is not judged. All its processes are gone on return.
func (o *Overlay) Run(ctx context.Context, p Program) (Result, error) {
	return Result{}, errors.ErrUnsupported
}

// A Kind is what becomes of a path.
type Kind string

// The kinds of changes.
const (
	Create     Kind = "create"     // file, directory or symbolic link, in the place of whatever is there; a directory, only if none is there
	Hardlink   Kind = "hardlink"   // another name for what Link names, in the place of whatever is there
	Attributes Kind = "attributes" // mode, owner, time (not of a directory) and extended attributes alone
	Delete     Kind = "delete"     // with all that is below it
)

// A Change is one difference between the root and the overlay.
type Change struct {
	Kind   Kind
	Path   string       // inside of the root
	Stat   root.Stat    // as it is in the overlay; not of Hardlink and Delete
	Xattrs []root.Xattr // likewise, all of them
	Link   string       // of a Create of a symbolic link: its text; of Hardlink: the path of the other name
	Was    root.Type    // what the root has there; empty if nothing
}

// Changes lists what is different from the root, ordered by path, a directory before
// what is in it; a Hardlink comes after what it names.
func (o *Overlay) Changes(ctx context.Context) ([]Change, error) {
	return nil, errors.ErrUnsupported
}

// Open opens the contents of a file that a change creates.
func (o *Overlay) Open(c Change) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

// A Package is a package of the root's own package manager.
type Package struct {
	Path    string // of the file, outside of the root
	Name    string
	Version string
	Arch    string
}

// PackageOptions change how packages are installed.
type PackageOptions struct {
	AllowDowngrade bool
	Timeout        time.Duration     // of each program; 0: none
	Line           func(line string) // as in Program
}

// InstallDebs installs packages by the root's dpkg, all in one call.
func InstallDebs(ctx context.Context, o *Overlay, packages []Package, opt PackageOptions) error {
	return errors.ErrUnsupported
}

// InstallRPMs installs packages by the root's rpm, all in one call.
func InstallRPMs(ctx context.Context, o *Overlay, packages []Package, opt PackageOptions) error {
	return errors.ErrUnsupported
}
