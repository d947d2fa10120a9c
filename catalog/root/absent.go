package root

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// An AbsentError reports a path in a folder where etc/fstab mounts a volume
// that is not on the disk. What the root has there itself would be hidden when
// the system runs, so it is neither read nor written.
type AbsentError struct{ Volume string } // as etc/fstab says it

func (e *AbsentError) Error() string {
	return fmt.Sprintf("etc/fstab mounts %s there, which is not on the disk", e.Volume)
}

// cover hides the folder of a volume that is not on the disk: something that
// is no part of the root lies over it. A folder that is not there hides nothing.
func (m *mounting) cover(r *Root, l fstabLine) error {
	at, err := r.lookup(l.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer at.Close()
	err = unix.Mount("absent", fmt.Sprintf("/proc/self/fd/%d", at.Fd()), "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=0")
	if err != nil {
		return fmt.Errorf("covering it: %w", err)
	}
	if m.absent == nil {
		m.absent = make(map[string]string)
	}
	m.absent[l.path] = l.spec
	return nil
}

// isBelowAbsent tells whether a path lies in the folder of a volume that is not
// on the disk.
func (m *mounting) isBelowAbsent(path string) bool {
	for folder := range m.absent {
		if strings.HasPrefix(path, folder+"/") {
			return true
		}
	}
	return false
}

// setAbsent notes which mounts stand for volumes that are not on the disk.
func (r *Root) setAbsent(volumes map[string]string) error {
	r.absent = make(map[uint64]string)
	for path, volume := range volumes {
		f, err := r.lookup(path)
		if err != nil {
			return pathError("looking at", path, err)
		}
		_, id, err := lstat(int(f.Fd()), "")
		f.Close()
		if err != nil {
			return pathError("looking at", path, err)
		}
		r.absent[id] = volume
	}
	return nil
}
