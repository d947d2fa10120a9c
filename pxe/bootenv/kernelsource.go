package bootenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
)

// ErrMismatch reports modules that are of another kernel.
var ErrMismatch = errors.New("modules and kernel do not belong together")

// maxKernel is the most bytes that a kernel may have. That of arm64 is not
// compressed and has 40 MB.
const maxKernel = 256 << 20

// A kernel is a kernel with its modules.
type kernel struct {
	version string
	image   []byte
	origin  origin
	modules []*Module
	builtin []byte // the text of modules.builtin
}

// A packedModule is a module's file as it lies in a package or folder.
type packedModule struct {
	path string // below the modules folder: kernel/fs/fat/fat.ko.xz
	load func() ([]byte, error)
}

// hostKernel returns the kernel that runs on this machine.
func hostKernel(ctx context.Context) (*kernel, error) {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	version := strings.TrimSpace(string(release))
	return fileKernel(ctx, "/boot/vmlinuz-"+version, "/lib/modules/"+version)
}

// fileKernel returns the kernel in a file, with the modules in a folder.
func fileKernel(ctx context.Context, file, modules string) (*kernel, error) {
	image, err := readFile(file, maxKernel)
	if err != nil {
		return nil, err
	}
	k := &kernel{image: image, origin: origin{Package: file}}
	builtin := filepath.Join(modules, "modules.builtin")
	if k.builtin, err = readFile(builtin, maxModule); err != nil {
		return nil, err
	}
	packed, err := packedModules(modules)
	if err != nil {
		return nil, err
	}
	return k, k.take(ctx, packed)
}

// packedModules lists the modules in a folder.
func packedModules(dir string) ([]packedModule, error) {
	var packed []packedModule
	err := filepath.WalkDir(filepath.Join(dir, "kernel"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !isModule(file) {
			return err
		}
		below, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		packed = append(packed, packedModule{filepath.ToSlash(below), func() ([]byte, error) { return readFile(file, maxModule) }})
		return nil
	})
	return packed, err
}

// take reads the image's version and all modules, and checks that they belong
// together. Each processor has one module in memory.
func (k *kernel) take(ctx context.Context, packed []packedModule) error {
	var err error
	if k.version, err = KernelVersion(k.image); err != nil {
		return err
	}
	if len(packed) == 0 {
		return fmt.Errorf("%w: kernel %s, and no modules", ErrMismatch, k.version)
	}
	k.modules = make([]*Module, len(packed))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range packed {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			m, err := k.read(p)
			k.modules[i] = m
			return err
		})
	}
	return g.Wait()
}

// read reads one module.
func (k *kernel) read(p packedModule) (*Module, error) {
	data, err := p.load()
	if err != nil {
		return nil, err
	}
	m, err := readModule(p.path, data)
	if err != nil {
		return nil, err
	}
	if of, _, _ := strings.Cut(m.Vermagic, " "); of != k.version {
		return nil, fmt.Errorf("%w: module %s is for kernel %q, the kernel is %s", ErrMismatch, p.path, of, k.version)
	}
	m.load = func() ([]byte, error) {
		data, err := p.load()
		if err != nil {
			return nil, err
		}
		return unpackModule(p.path, data)
	}
	return m, nil
}

// choice says which modules of a kernel are wanted.
type choice struct {
	set        string
	modaliases []string // nil: all of the set; otherwise those that these ask for, of any set
	add        []string
}

// choose returns the modules that are wanted, with all that they need.
func (k *kernel) choose(want choice) ([]*Module, error) {
	ix, err := newIndex(k.modules, k.builtin)
	if err != nil {
		return nil, err
	}
	start, err := k.start(ix, want)
	if err != nil {
		return nil, err
	}
	for _, name := range want.add {
		m := ix.byName[canonical(name)]
		if m == nil && !ix.builtin[canonical(name)] {
			return nil, fmt.Errorf("kernel %s has no module %q", k.version, name)
		}
		if m != nil {
			start = append(start, m)
		}
	}
	return ix.closure(start)
}

// start returns the modules that a choice begins with. Given modaliases, a
// module that one of them matches is taken if it drives a disk, a network card
// or a bus to one, whatever the set: the machine has it.
func (k *kernel) start(ix *index, want choice) ([]*Module, error) {
	chosen, err := sets(want.set)
	if err != nil || want.modaliases == nil {
		return inSets(k.modules, chosen), err
	}
	start := inSets(k.modules, []moduleSet{baseSet()})
	useful := []moduleSet{wideSet(), deskSet(), virtSet()}
	for _, alias := range want.modaliases {
		start = append(start, inSets(ix.match(alias), useful)...)
	}
	return append(start, inSets(k.modules, []moduleSet{unasked()})...), nil
}

// unasked is what a machine needs that has no modalias for it: PHYs are found
// by the number that they answer with, network adapters and sticks are plugged
// in later.
func unasked() moduleSet {
	return moduleSet{with: []string{
		"drivers/net/phy/*", "drivers/usb/storage/usb-storage", "drivers/usb/storage/uas", "drivers/net/usb/r8152",
		"drivers/net/usb/ax88179_178a", "drivers/net/usb/asix", "drivers/net/usb/cdc_ncm", "drivers/net/usb/cdc_ether",
	}}
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: %w: more than %d bytes", name, ErrMalformed, limit)
	}
	return os.ReadFile(name)
}

// belowModules returns the path of a module below the modules folder of a
// package, or "" if the file is none: lib/modules/VERSION/kernel/... or
// usr/lib/modules/VERSION/kernel/...
func belowModules(file string) string {
	file = strings.TrimPrefix(file, "usr/")
	rest, found := strings.CutPrefix(file, "lib/modules/")
	if !found {
		return ""
	}
	_, below, _ := strings.Cut(rest, "/")
	return path.Clean(below)
}
