package blockdev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A claim or lock that somebody else holds is tried again for claimWait,
// since udev and its helpers look at devices for a moment.
const (
	claimWait = time.Second
	claimStep = 50 * time.Millisecond
)

// newFileMode is the mode of a target file that did not exist, less the umask.
const newFileMode = 0o644

// OpenSource opens the device or plain file at path to read from it. Refused
// is what would change while it is read: a file system that is mounted and a
// swap space, on it or on whatever lies on it. A block device is claimed as
// far as nobody else did, so that it is not mounted later on either.
func OpenSource(path string) (*Device, error) {
	m := thisMachine()
	id, err := m.stat(path)
	if err != nil {
		return nil, err
	}
	s, err := m.load()
	if err != nil {
		return nil, err
	}
	stack, err := s.checkSource(path, id)
	if err != nil {
		return nil, err
	}
	if !id.isDevice() {
		return s.finish(path, id, os.O_RDONLY, openAs(path, os.O_RDONLY))
	}
	if tops := s.tops(stack); len(s.users(s.name(id.rdev))) > 0 {
		return s.openShared(path, id, tops)
	}
	return s.finish(path, id, os.O_RDONLY, claim(path, os.O_RDONLY))
}

// tops returns the nodes of the devices in the stack that nothing lies on.
func (s *state) tops(stack []string) []string {
	var nodes []string
	for _, name := range stack {
		n := s.nodes[name]
		if n != nil && len(s.over[name]) == 0 && len(n.parts) == 0 {
			nodes = append(nodes, "/dev/"+n.devName)
		}
	}
	return nodes
}

// openShared opens a source that device mapper, md or the like has claimed.
// In its place the devices on top of it are claimed: a file system that is
// mounted where this process cannot see it makes one of them busy.
func (s *state) openShared(path string, id fileID, tops []string) (*Device, error) {
	var claims []*os.File
	for _, top := range tops {
		r := claim(top, os.O_RDONLY)
		if r.err != nil {
			closeAll(claims)
			return nil, refusal(path, r.err)
		}
		claims = append(claims, r.file)
	}
	d, err := s.finish(path, id, os.O_RDONLY, openAs(path, os.O_RDONLY))
	if err != nil {
		closeAll(claims)
		return nil, err
	}
	d.claims = append(d.claims, claims...)
	return d, nil
}

// OpenTarget opens the device or plain file at path to write to it, after all
// checks have passed; see [Reason] for what is refused. A block device is
// claimed for this process alone until Close. A file that does not exist is
// created, and one that exists keeps its contents and its size.
func OpenTarget(path string, opt TargetOptions) (*Device, error) {
	m := thisMachine()
	s, err := m.load()
	if err != nil {
		return nil, err
	}
	id, err := m.stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s.createTarget(path)
	}
	if err != nil {
		return nil, err
	}
	if err := s.checkTarget(path, id, opt); err != nil {
		return nil, err
	}
	if id.isDevice() {
		return s.finish(path, id, os.O_RDWR, claim(path, os.O_RDWR))
	}
	return s.finish(path, id, os.O_RDWR, openAs(path, os.O_RDWR))
}

// createTarget makes an empty file. It follows no link: a dangling one may
// point into /dev.
func (s *state) createTarget(path string) (*Device, error) {
	if err := s.checkNewFile(path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, newFileMode)
	if err != nil {
		return nil, refusal(path, err)
	}
	id, err := statOpen(f)
	return s.finish(path, id, os.O_RDWR, opened{f, err})
}

// opened is what an attempt to open led to.
type opened struct {
	file *os.File
	err  error
}

func openAs(path string, flags int) opened {
	f, err := os.OpenFile(path, flags, 0)
	return opened{f, err}
}

// claim opens a block device for this process alone: with O_EXCL and without
// O_CREAT the kernel refuses a device that is mounted or claimed, and keeps
// others from claiming it (open(2)).
func claim(path string, flags int) opened { return claimWithin(path, flags, claimWait) }

// claimWithin is claim that waits for a claim of another program to end.
func claimWithin(path string, flags int, wait time.Duration) opened {
	var r opened
	r.err = patientlyFor(wait, func() error {
		r.file, r.err = os.OpenFile(path, flags|os.O_EXCL, 0)
		return r.err
	})
	return r
}

// patiently calls f until it meets neither a claim nor a lock of another
// program, for claimWait at most, and returns its last error.
func patiently(f func() error) error { return patientlyFor(claimWait, f) }

func patientlyFor(wait time.Duration, f func() error) error {
	for end := time.Now().Add(wait); ; time.Sleep(claimStep) {
		err := f()
		held := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EWOULDBLOCK)
		if !held || time.Now().After(end) {
			return err
		}
	}
}

// finish makes a Device of what was opened, if it still is what was checked.
func (s *state) finish(path string, id fileID, flags int, r opened) (*Device, error) {
	if r.err != nil {
		return nil, refusal(path, r.err)
	}
	d := &Device{info: *s.info(path, id), file: r.file, writable: flags == os.O_RDWR}
	now, err := statOpen(r.file)
	if err == nil && !now.same(id) {
		err = &RefusedError{Path: path, Reason: Changed}
	}
	if err == nil {
		err = d.prepare(now)
	}
	if err != nil {
		d.Close()
		return nil, refusal(path, err)
	}
	return d, nil
}

// statOpen describes an open file.
func statOpen(f *os.File) (fileID, error) {
	info, err := f.Stat()
	if err != nil {
		return fileID{}, err
	}
	return identify(info), nil
}

// prepare readies a Device that was just opened.
func (d *Device) prepare(id fileID) error {
	if d.writable && d.info.Kind != Partition {
		if err := d.lock(); err != nil {
			return err
		}
	}
	if !id.isDevice() {
		d.size.Store(id.size)
		if !d.writable {
			// Advice that is not taken costs nothing.
			_ = d.control(func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_SEQUENTIAL) })
		}
		return nil
	}
	if err := d.measure(); err != nil {
		return err
	}
	d.openDirect()
	return nil
}

// lock takes the lock that keeps udev from looking at a disk while it is
// written (https://systemd.io/BLOCK_DEVICE_LOCKING), and another slipcast
// from the same file. It ends with Close.
func (d *Device) lock() error {
	return patiently(func() error {
		return d.control(func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	})
}

// measure asks the open device itself for its size and sectors.
func (d *Device) measure() error {
	var size uint64
	if err := ioctl(d.file, unix.BLKGETSIZE64, &size); err != nil {
		return fmt.Errorf("asking for the size of %s: %w", d.info.Path, err)
	}
	var sector, readOnly int32
	if err := ioctl(d.file, unix.BLKSSZGET, &sector); err != nil {
		return fmt.Errorf("asking for the sector size of %s: %w", d.info.Path, err)
	}
	if err := ioctl(d.file, unix.BLKROGET, &readOnly); err == nil && readOnly != 0 && d.writable {
		return &RefusedError{Path: d.info.Path, Reason: ReadOnly}
	}
	d.size.Store(int64(size))
	d.info.Size, d.info.LogicalSector = int64(size), int(sector)
	return nil
}

// refusal turns what the kernel says on open into a RefusedError where there
// is a Reason for it.
func refusal(path string, err error) error {
	reasons := []struct {
		reason Reason
		errors []error
	}{
		{Busy, []error{unix.EBUSY, unix.ETXTBSY, unix.EWOULDBLOCK}},
		{ReadOnly, []error{unix.EROFS}},
		{NoPermission, []error{unix.EACCES, unix.EPERM}},
		{Missing, []error{unix.ENXIO, unix.ENODEV}},
	}
	for _, r := range reasons {
		if slices.ContainsFunc(r.errors, func(e error) bool { return errors.Is(err, e) }) {
			return &RefusedError{Path: path, Reason: r.reason}
		}
	}
	return err
}

// closeAll closes claims; a descriptor that wrote nothing has no error to
// report.
func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
