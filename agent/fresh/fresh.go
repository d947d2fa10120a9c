package fresh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"

	"slipcast/internal/blockdev"
	"slipcast/partition"
)

// maxAnswer bounds an answer file, in bytes.
const maxAnswer = 256 << 10

// Options say what a disk is to become.
type Options struct {
	// Disk is the node of the disk, as in /dev/vda. The kernel must know its
	// partitions, and nobody may have it open for himself or mounted.
	Disk string

	// Table is the table of the disk as it is now.
	Table *partition.Table

	// Hostname is the new name, at most 64 letters, digits, hyphens and dots;
	// empty leaves the name that the image has.
	Hostname string

	// Fresh makes machine-id, SSH host keys and the like of a Linux system anew.
	Fresh bool

	// Answer is an answer file for Windows, at most 256 KiB, in which
	// %HOSTNAME% stands for Hostname; empty places none.
	Answer string

	// Arch is the machine's, x64 or arm64; empty is that of this program.
	Arch string

	// Load makes the kernel load a module by its name or alias; nil leaves
	// that to the kernel. Its error counts only if the file system cannot be
	// mounted then.
	Load func(module string) error

	// Log is told each change; nil is silence.
	Log *slog.Logger
}

// A Result is what became of a disk.
type Result struct {
	Changed []string // "partition 2: etc/hostname"
	Notes   []string // what was left as it is, and why
	Loader  *Loader  // nil if there is none that UEFI firmware starts from this disk
}

// A Loader is a boot loader on a partition of a disk with a GPT. Its fields are
// those of uefi.Loader, to which it can be converted.
type Loader struct {
	Partition int
	Start     int64  // of the partition, in logical sectors
	Size      int64  // likewise
	GUID      string // of the partition, in lower case
	File      string // from the root of its file system, with backslashes
}

// Run makes a restored disk one machine's own. Where something cannot be
// changed it goes on with the rest; the Result is good beside an error, too.
// When it returns, nothing is mounted any more and everything is on the disk.
// ctx is asked before each partition.
func Run(ctx context.Context, opt Options) (Result, error) {
	if err := opt.check(); err != nil {
		return Result{}, err
	}
	r := &run{opt: opt, log: opt.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	var errs []error
	for _, v := range r.volumes() {
		if err := ctx.Err(); err != nil {
			return r.result, errors.Join(append(errs, err)...)
		}
		if err := r.visit(v); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v.name, err))
		}
	}
	r.conclude()
	return r.result, errors.Join(errs...)
}

func (o *Options) check() error {
	if o.Arch == "" {
		o.Arch = map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	}
	if o.Table == nil {
		return errors.New("no partition table is given")
	}
	return Check(o.Hostname, o.Answer)
}

// Check refuses a host name and an answer file that [Run] would refuse, before
// there is anything on the disk. Either may be empty.
func Check(hostname, answer string) error {
	switch {
	case hostname != "" && !isHostname(hostname):
		return fmt.Errorf("%q is no host name", hostname)
	case len(answer) > maxAnswer:
		return fmt.Errorf("answer file of %d bytes, want at most %d", len(answer), maxAnswer)
	case hostname == "" && strings.Contains(answer, hostnameMark):
		return fmt.Errorf("the answer file has %s, and there is no host name for it", hostnameMark)
	}
	return nil
}

// A run is one call of Run.
type run struct {
	opt    Options
	log    *slog.Logger
	result Result

	linux, windows bool // was found
}

// A volume is a partition, or a disk without a table.
type volume struct {
	name string // for people
	node string
	part partition.Partition
}

func (r *run) volumes() []volume {
	if r.opt.Table.Kind == partition.None {
		return []volume{{name: "disk", node: r.opt.Disk}}
	}
	var list []volume
	for _, p := range r.opt.Table.Partitions {
		if !p.Extended {
			list = append(list, volume{fmt.Sprintf("partition %d", p.Number), blockdev.PartitionPath(r.opt.Disk, p.Number), p})
		}
	}
	return list
}

// visit does what there is to do on a volume.
func (r *run) visit(v volume) error {
	k, err := r.probe(v)
	if err != nil {
		return err
	}
	identity := r.opt.Hostname != "" || r.opt.Fresh
	switch {
	case k == ext4 || k == xfs || k == btrfs:
		if identity {
			return r.linuxOn(v, k)
		}
	case k == ntfs:
		if r.opt.Answer != "" {
			return r.windowsOn(v)
		}
	case k == fat:
		return r.loaderOn(v)
	case k == bitLocker && r.opt.Answer != "", k.hides() && identity:
		r.note(v.name, "%s: what is in it was not looked at", k)
	}
	return nil
}

// probe finds out what is on a volume. The device is claimed for that moment,
// so that nobody else has it mounted.
func (r *run) probe(v volume) (kind, error) {
	d, err := blockdev.OpenSource(v.node)
	if err != nil {
		return unknown, err
	}
	defer d.Close()
	return probe(d), nil
}

// conclude notes what was asked for and has no place on this disk.
func (r *run) conclude() {
	identity := r.opt.Hostname != "" || r.opt.Fresh
	if identity && !r.linux && !(r.windows && r.opt.Answer != "") {
		r.note("disk", "no Linux system was found: its name and keys are those of the image")
	}
	if r.opt.Answer != "" && !r.windows {
		r.note("disk", "no Windows system was found: the answer file was not placed")
	}
}

func (r *run) note(where, format string, args ...any) {
	r.result.Notes = append(r.result.Notes, where+": "+fmt.Sprintf(format, args...))
}

func (r *run) changed(where, path string) {
	r.result.Changed = append(r.result.Changed, where+": "+path)
	r.log.Info("made fresh", "volume", where, "file", path)
}
