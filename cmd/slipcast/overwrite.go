package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"slipcast/image"
	"slipcast/internal/progress"
	"slipcast/partition"
)

// restoreOptions say how a target is overwritten.
type restoreOptions struct {
	yes       bool
	delta     bool
	grow      bool
	discard   bool
	verify    bool
	partition int
	serial    string
	digest    fingerprint
}

// addOverwriteFlags adds the flags that all commands have that overwrite a
// target.
func addOverwriteFlags(cmd *cobra.Command, opt *restoreOptions) {
	f := cmd.Flags()
	f.BoolVar(&opt.yes, "yes", false, "overwrite TARGET without asking")
	f.BoolVar(&opt.delta, "delta", false, "read TARGET and write only what differs")
	f.BoolVar(&opt.grow, "grow", false, "extend the last partition and its file system to the end of TARGET")
	f.BoolVar(&opt.discard, "discard", false, "tell TARGET which of its bytes are free (TRIM)")
	f.Var(&opt.digest, "digest", "refuse any image but the one with this digest")
	f.StringVar(&opt.serial, "serial", "", "refuse TARGET unless the disk has this serial number, as slipcast shows it")
	f.BoolVar(&opt.verify, "verify", false, "read everything back at the end")
}

// An overwrite is a target on its way to become the disk of an image, wherever
// the image comes from.
type overwrite struct {
	env    *env
	dst    string // the target as it was given
	opt    restoreOptions
	again  string          // tells people what to do where it did not end well
	m      *image.Manifest // nil for the image of another program
	raw    int64           // bytes of the disk in that, -1 if they are not known
	target *target
	meter  *progress.Meter

	restored bool // all is on the target
}

// hold opens the target after all checks, calls work, and closes it. keep are
// files that must survive.
func (o *overwrite) hold(work func() error, keep ...string) (err error) {
	if o.target, err = openTarget(o.dst, keep...); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, o.target.close(o.restored)) }()
	if err := o.checkSerial(); err != nil {
		return err
	}
	return work()
}

// checkSerial refuses a target that is not the disk that was meant: names like
// sda change from one boot to the next. The disk is asked that is open.
func (o *overwrite) checkSerial() error {
	have := o.target.Info().Serial
	switch {
	case o.opt.serial == "" || have == o.opt.serial:
		return nil
	case have == "":
		return &refusal{"it has no serial number, and --serial wants " + o.opt.serial}
	}
	return &refusal{fmt.Sprintf("it has the serial number %s, and --serial wants %s", have, o.opt.serial)}
}

// checkDigest refuses an image that is not the one that was meant.
func (o *overwrite) checkDigest() error {
	switch {
	case o.opt.digest == nil:
		return nil
	case o.m == nil:
		return &refusal{"the image has no digest, and --digest wants " + o.opt.digest.String()}
	case o.m.Digest == (image.Digest{}):
		return &refusal{"an image that comes as a stream has its digest at the end, which is too late for --digest; restore it from a file or a URL"}
	case !bytes.Equal(o.m.Digest[:], o.opt.digest):
		return &refusal{fmt.Sprintf("the image has the digest %s, and --digest wants %s", o.m.Digest, o.opt.digest.String())}
	}
	return nil
}

// checkFit refuses an image that was not meant, and a target that is too small,
// before anybody is asked.
func (o *overwrite) checkFit() error {
	if err := o.checkDigest(); err != nil {
		return err
	}
	size := o.target.Size()
	if o.target.isFile() && size == 0 {
		size = math.MaxInt64
	}
	if o.m == nil {
		if o.raw > size {
			return &image.TooSmallError{Need: o.raw, Have: size}
		}
		return nil
	}
	return o.m.CheckFit(size, image.RestoreOptions{Partition: o.opt.partition, TargetSector: o.target.sector()})
}

// failed returns the error of work that ended with err, and tells if that was
// too late for the target.
func (o *overwrite) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err() // what goes wrong then goes wrong because of it
	}
	if !o.target.touched.Load() {
		return err
	}
	if !o.target.created {
		o.env.note(o.dst, "it is not restored, and what it held is lost; "+o.again)
	}
	if exitCode(ctx, err) == exitRefused { // which means that nothing was written
		return errors.New(err.Error())
	}
	return err
}

// options returns how the target is to be written.
func (o *overwrite) options() image.RestoreOptions {
	return image.RestoreOptions{
		Partition: o.opt.partition, Delta: o.opt.delta, Discard: o.opt.discard, Verify: o.opt.verify,
		Grow: o.opt.grow, TargetSector: o.target.sector(),
	}
}

// prepare makes a file ready to be written. One that is overwritten becomes as
// sparse as it can be: it is wiped with the first write, or by target.begin.
func (o *overwrite) prepare(opt *image.RestoreOptions) error {
	switch {
	case !o.target.isFile():
		return nil
	case o.target.Size() == 0:
		opt.Blank, opt.Delta = true, false
		return o.target.start(o.size())
	case opt.Delta, opt.Resume && o.m != nil && o.m.CutShort(o.target):
		return nil
	}
	opt.Blank = o.m != nil // a blank file would take the size of a foreign image
	o.target.blank = true
	return nil
}

// size returns the bytes that a new file gets, 0 if they are not known.
func (o *overwrite) size() int64 {
	switch {
	case o.m == nil:
		return max(o.raw, 0)
	case o.opt.partition != 0:
		if p := o.m.Table.Partition(o.opt.partition); p != nil {
			return p.Size
		}
	}
	return o.m.Size
}

// total returns the bytes in use that are restored, 0 if they are not known.
func (o *overwrite) total() int64 {
	if o.m == nil {
		return max(o.raw, 0)
	}
	if p := o.m.Table.Partition(o.opt.partition); p != nil {
		return o.m.UsedIn(p.Extent())
	}
	return o.m.Used.Size()
}

// checks lists for people what was checked.
func (o *overwrite) checks(stats image.RestoreStats) string {
	list := []string{count(stats.Chunks, "chunk") + " against their digests"}
	if o.opt.delta || stats.Kept > 0 {
		list[0] += fmt.Sprintf(" (%d there already)", stats.Kept)
	}
	list = append(list, "flushed")
	if o.opt.partition == 0 && o.m.Table.Kind != partition.None {
		list = append(list, "partition table read again")
	}
	if o.opt.verify {
		list = append(list, "everything read back")
	}
	return strings.Join(list, ", ")
}

// noteCut tells that a partition lost its end.
func (o *overwrite) noteCut(stats image.RestoreStats) {
	if stats.Cut != nil {
		o.env.note(o.dst, fmt.Sprintf("partition %d was made smaller, its file system is not: it ends at %s",
			stats.Cut.Number, progress.Bytes(stats.Cut.Size)))
	}
}
