package bootenv

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"slipcast/pxe/debian"
)

// Sources of a kernel.
const (
	DebianKernel = "debian" // the newest one of the suites
	HostKernel   = "host"   // the one that runs here
)

// ErrForeign reports a folder that has other things in it than a boot folder.
// A build replaces the whole folder, so it does not touch such a one.
var ErrForeign = errors.New("not a boot folder")

// Options say what a boot folder is to be made of. Dir, Agent and
// Debian.Cache must be set.
type Options struct {
	Dir  string // the boot folder
	Arch Arch   // X64 if empty
	Set  string // Virt, Desk or Wide; Desk if empty

	// Modaliases, if not nil, trim the modules to those that one of these asks
	// for and to what every machine needs. Set does not matter then.
	Modaliases []string
	AddModules []string // names of modules that are wanted besides

	Kernel   string // DebianKernel, HostKernel, or a file; Debian's if empty
	Modules  string // folder of the modules, for a kernel that is a file
	Firmware string // folder of firmware; Debian's packages if empty

	Agent   string // a static program, /init
	Version string // of slipcast, for the manifest

	// Ticket are the files that the agent of a boot.img finds. Without any there
	// is no boot.img: an agent that knows no server is of no use.
	Ticket []Entry
	Args   []string // words for the command line of a boot.img's kernel

	Debian debian.Source // Arch is set by Build
	Log    *slog.Logger  // nil is silence

	// Stage is told what Build does now, in a few words; may be nil.
	Stage func(what string)
}

// A Result is what a build made.
type Result struct {
	Manifest *Manifest
	Arch     Arch
	Findings map[string]*Finding // by file
	Releases []debian.Release    // that the packages came from
}

// Build makes a boot folder and puts it in the place of Options.Dir once it is
// whole, see [Manifest]. Whoever reads the folder meanwhile never sees half of
// it. Files of another architecture that are there are kept.
//
// Errors wrap [ErrMismatch], [ErrOldGRUB], [ErrSignature], [ErrNotAgent],
// [ErrForeign] or those of package debian, or are those of the files.
func Build(ctx context.Context, opt Options) (*Result, error) {
	b, err := newBuilder(opt)
	if err != nil {
		return nil, err
	}
	old, err := b.previous()
	if err != nil {
		return nil, err
	}
	agent, err := readAgent(b.Agent, b.Arch)
	if err != nil {
		return nil, err
	}
	if err := b.gather(ctx, agent); err != nil {
		return nil, err
	}
	b.Stage("checking signatures")
	if b.result.Findings, err = examine(b.Arch, b.files); err != nil {
		return nil, err
	}
	b.describe(old)
	b.Stage("writing")
	return b.result, b.write(old)
}

// A builder is one run of [Build].
type builder struct {
	Options
	dist   *distribution
	files  map[string]bootFile // by their names in the folder
	env    Environment
	result *Result
}

// newBuilder fills in defaults.
func newBuilder(opt Options) (*builder, error) {
	b := &builder{Options: opt, files: map[string]bootFile{}}
	if b.Arch == "" {
		b.Arch = X64
	}
	if b.Set == "" {
		b.Set = Desk
	}
	if b.Kernel == "" {
		b.Kernel = DebianKernel
	}
	if b.Log == nil {
		b.Log = slog.New(slog.DiscardHandler)
	}
	if b.Stage == nil {
		b.Stage = func(string) {}
	}
	if _, err := sets(b.Set); err != nil {
		return nil, err
	}
	b.Debian.Arch = debianArch(b.Arch)
	b.result = &Result{Arch: b.Arch}
	dir, err := filepath.Abs(b.Dir)
	if err != nil {
		return nil, err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	b.Dir = dir
	return b, nil
}

// previous returns the manifest of the folder that is replaced, or an empty
// one if there is none. A folder with anything else in it is refused.
func (b *builder) previous() (*Manifest, error) {
	old, err := ReadManifest(b.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		old = &Manifest{}
	} else if err != nil {
		return nil, err
	}
	extra, err := foreign(b.Dir, old)
	if err == nil && len(extra) > 0 {
		err = fmt.Errorf("%s: %w: it has the file %s", b.Dir, ErrForeign, extra[0])
	}
	return old, err
}

// foreign returns the files in a boot folder that its manifest does not name.
func foreign(dir string, m *Manifest) ([]string, error) {
	var extra []string
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if file == dir && errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if _, known := m.Files[filepath.ToSlash(name)]; !known && name != ManifestFile {
			extra = append(extra, name)
		}
		return nil
	})
	return extra, err
}

// gather collects all files of the architecture.
func (b *builder) gather(ctx context.Context, agent []byte) error {
	b.Stage("reading Debian's lists of packages")
	archive, err := debian.Open(ctx, b.Debian)
	if err != nil {
		return err
	}
	b.dist = &distribution{archive, b.Debian.Arch}
	b.result.Releases = archive.Releases()
	b.Stage("fetching boot loaders")
	if b.files, err = b.dist.loaders(ctx, b.Arch); err != nil {
		return err
	}
	b.Stage("reading kernel and modules")
	k, err := b.kernel(ctx)
	if err != nil {
		return err
	}
	b.files[b.name("linux")] = bootFile{k.image, k.origin}
	ramfs, err := b.initramfs(ctx, k, agent)
	if err != nil {
		return err
	}
	b.Stage("compressing the initramfs")
	initrd, sizes, err := ramfs.pack(ctx)
	if err != nil {
		return err
	}
	b.env.RawBytes, b.env.ModuleBytes, b.env.FirmBytes = sizes.raw, sizes.modules, sizes.firmware
	b.env.AgentBytes = int64(len(agent))
	b.files[b.name("initrd")] = bootFile{initrd, origin{}}
	return b.image()
}

// name returns the name of a file of the architecture in the folder.
func (b *builder) name(file string) string { return string(b.Arch) + "/" + file }

// kernel returns the kernel that is asked for.
func (b *builder) kernel(ctx context.Context) (*kernel, error) {
	switch b.Kernel {
	case DebianKernel:
		return b.dist.kernel(ctx)
	case HostKernel:
		return hostKernel(ctx)
	}
	return fileKernel(ctx, b.Kernel, b.Modules)
}

// initramfs chooses modules and firmware.
func (b *builder) initramfs(ctx context.Context, k *kernel, agent []byte) (*initramfs, error) {
	modules, err := k.choose(choice{b.Set, b.Modaliases, b.AddModules})
	if err != nil {
		return nil, err
	}
	b.Stage("fetching firmware")
	wanted := wantedFirmware(modules)
	var fw *firmware
	if b.Firmware != "" {
		fw, err = firmwareFrom(b.Firmware, wanted)
	} else {
		fw, err = b.dist.firmware(ctx, wanted)
	}
	if err != nil {
		return nil, err
	}
	fw.sort(wanted, b.Modaliases != nil)
	b.env = Environment{
		Built: time.Now().UTC().Truncate(time.Second), Builder: b.Version, Kernel: k.version,
		Set: b.Set, Trimmed: b.Modaliases != nil, Modules: len(modules),
		Firmware: slices.Sorted(maps.Keys(fw.files)), Missing: fw.missing, TooLarge: fw.tooLarge,
	}
	return &initramfs{k.version, agent, modules, k.builtin, fw.files}, nil
}

// image makes boot.img, if there is a ticket for it.
func (b *builder) image() error {
	if len(b.Ticket) == 0 {
		return nil
	}
	ticket, err := ticketArchive(b.Ticket)
	if err != nil {
		return err
	}
	data := func(name string) []byte { return b.files[b.name(name)].data }
	disk, err := (&image{
		arch: b.Arch, args: b.Args, shim: data("shim.efi"), grub: data("grub.efi"), mm: data("mm.efi"),
		kernel: data("linux"), initrd: slices.Concat(data("initrd"), ticket),
	}).build()
	if err != nil {
		return fmt.Errorf("making boot.img: %w", err)
	}
	b.files[b.name("boot.img")] = bootFile{disk, origin{}}
	return nil
}

// describe makes the manifest: what is new, and what is kept of the old one.
func (b *builder) describe(old *Manifest) {
	m := &Manifest{Schema: ManifestSchema, Arch: map[Arch]Environment{}, Files: map[string]File{}}
	maps.Copy(m.Arch, old.Arch)
	m.Arch[b.Arch] = b.env
	for name, f := range old.Files {
		if !b.replaces(name) {
			m.Files[name] = f
		}
	}
	for name, f := range b.files {
		about := describe(f.data, f.from)
		if finding := b.result.Findings[name]; finding != nil {
			about.Signers = finding.Signers
		}
		m.Files[name] = about
	}
	b.result.Manifest = m
}

// replaces tells whether a file of the old folder is not taken over.
func (b *builder) replaces(name string) bool {
	_, again := b.files[name]
	return again || strings.HasPrefix(name, b.name(""))
}

// write writes the folder beside its place, the manifest last, and moves it
// there.
func (b *builder) write(old *Manifest) error {
	if err := os.MkdirAll(filepath.Dir(b.Dir), 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(filepath.Dir(b.Dir), filepath.Base(b.Dir)+".*.partial")
	if err != nil {
		return err
	}
	defer os.RemoveAll(fresh) // finds nothing if all went well
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	kept := maps.Clone(old.Files)
	maps.DeleteFunc(kept, func(name string, _ File) bool { return b.replaces(name) })
	if err := keep(b.Dir, fresh, kept); err != nil {
		return err
	}
	for name, f := range b.files {
		if err := writeFile(filepath.Join(fresh, filepath.FromSlash(name)), f.data); err != nil {
			return err
		}
	}
	text, err := b.result.Manifest.encode()
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(fresh, ManifestFile), text); err != nil {
		return err
	}
	return install(fresh, b.Dir)
}
