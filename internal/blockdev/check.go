package blockdev

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// TargetOptions say what else must hold of a target. The zero value asks for
// the checks that every target has to pass.
type TargetOptions struct {
	// Keep are paths of files and devices that must survive, such as the
	// image that is restored. Each of them must exist. A target that is one
	// of them, or that one of them is stored on, is refused.
	Keep []string
}

// A target is a path on its way to be opened for writing.
type target struct {
	*state
	path string
	id   fileID
	name string // of the node, if it is a device
}

func (t *target) refuse(reason Reason, detail ...string) error {
	return &RefusedError{Path: t.path, Reason: reason, Detail: strings.Join(detail, ", ")}
}

// kindError returns why a path of this kind cannot be imaged, nil if it is a
// block device or a plain file.
func kindError(path string, id fileID) error {
	detail := ""
	switch kind := id.mode.Type(); {
	case kind.IsRegular() || id.isDevice():
		return nil
	case kind&fs.ModeDir != 0:
		detail = "a directory"
	case kind&fs.ModeCharDevice != 0:
		detail = "a character device"
	case kind&fs.ModeNamedPipe != 0:
		detail = "a pipe"
	case kind&fs.ModeSocket != 0:
		detail = "a socket"
	default:
		detail = "neither a block device nor a file"
	}
	return &RefusedError{Path: path, Reason: WrongKind, Detail: detail}
}

// checkNewFile refuses to create a file where only devices belong. In a
// devtmpfs it would be stored in memory under the name of a disk.
func (s *state) checkNewFile(path string) error {
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if s.forDevices(dir) {
		return &RefusedError{Path: path, Reason: Missing}
	}
	return nil
}

// forDevices reports whether dir, absolute and without links, is a place for
// device nodes: /dev apart from /dev/shm, or any other devtmpfs.
func (s *state) forDevices(dir string) bool {
	m := mountOf(s.mounts, dir)
	return within(dir, "/dev") && !within(dir, "/dev/shm") || m != nil && m.fsType == "devtmpfs"
}

// checkTarget returns why the target must not be written, nil if nothing that
// is known speaks against it. The order is that of the worst first.
func (s *state) checkTarget(path string, id fileID, opt TargetOptions) error {
	if err := kindError(path, id); err != nil {
		return err
	}
	t := &target{state: s, path: path, id: id, name: s.name(id.rdev)}
	checks := []func([]string) error{t.checkKept, t.checkFile}
	if id.isDevice() {
		checks = []func([]string) error{t.checkNode, t.checkSystem, t.checkKept, t.checkUsers, t.checkReadOnly}
	}
	for _, check := range checks {
		if err := check(opt.Keep); err != nil {
			return err
		}
	}
	return nil
}

// checkNode refuses a device node whose device does not exist.
func (t *target) checkNode([]string) error {
	if t.name == "" {
		return t.refuse(Missing)
	}
	return nil
}

// checkSystem refuses the disk that / or this program is stored on, however
// many layers lie between. A machine that booted from the network has none.
func (t *target) checkSystem([]string) error {
	for _, path := range []string{"/", "/proc/self/exe"} {
		names, err := t.foundation(path)
		if err != nil {
			return err
		}
		if t.overlaps(t.name, names) {
			return t.refuse(SystemDisk)
		}
	}
	return nil
}

// checkKept refuses the target if any of the paths in keep lies on it.
func (t *target) checkKept(keep []string) error {
	for _, path := range keep {
		if err := t.checkKeep(path); err != nil {
			return err
		}
	}
	return nil
}

// checkKeep refuses the target if it is the file or device at keep, or if
// that is stored on it.
func (t *target) checkKeep(keep string) error {
	id, err := t.stat(keep)
	if err != nil {
		return err
	}
	if id.same(t.id) {
		return t.refuse(SameFile, keep)
	}
	if !t.id.isDevice() {
		return nil
	}
	names, err := t.foundation(keep)
	if err != nil {
		return err
	}
	if t.overlaps(t.name, names) || t.liesOn(id) {
		return t.refuse(Holds, keep)
	}
	return nil
}

// liesOn reports whether the target's bytes are bytes of id: through device
// mapper or md if that is a device, through a loop device if it is a file.
func (t *target) liesOn(id fileID) bool {
	if id.isDevice() && t.overlaps(t.state.name(id.rdev), []string{t.name}) {
		return true
	}
	direct, disks := t.below(t.name)
	for _, loop := range t.loopsOf(id) {
		if direct[loop] || disks[loop] {
			return true
		}
	}
	return false
}

// checkUsers refuses a device that the system uses: mounted, as swap, or as
// part of another device.
func (t *target) checkUsers([]string) error {
	stack := t.above(t.name)
	if points := t.mountsOn(stack); len(points) > 0 {
		return t.refuse(Mounted, points...)
	}
	if paths := t.swapOn(stack); len(paths) > 0 {
		return t.refuse(Swap, paths...)
	}
	if users := t.users(t.name); len(users) > 0 {
		return t.refuse(InUse, users...)
	}
	return nil
}

// users returns what lies on the device or on its partitions, for people.
// The disk itself and its partitions are no users.
func (s *state) users(name string) []string {
	n := s.nodes[name]
	if n == nil {
		return nil
	}
	disk := n
	if n.disk != "" {
		disk = s.nodes[n.disk]
	}
	var labels []string
	for _, user := range s.above(name) {
		if user != disk.name && !slices.Contains(disk.parts, user) {
			labels = append(labels, s.label(user))
		}
	}
	return labels
}

// checkReadOnly refuses a device that the kernel will not write to.
func (t *target) checkReadOnly([]string) error {
	if t.nodes[t.name].readOnly {
		return t.refuse(ReadOnly)
	}
	return nil
}

// checkFile refuses a plain file that stands where a device should, that is
// in use as a disk or as swap, that runs, or that its owner made read-only.
func (t *target) checkFile([]string) error {
	if real, err := filepath.EvalSymlinks(t.path); err == nil {
		if real, err = filepath.Abs(real); err == nil && t.forDevices(filepath.Dir(real)) {
			return t.refuse(WrongKind, "a plain file among the devices")
		}
	}
	if exe, err := t.stat("/proc/self/exe"); err == nil && exe.same(t.id) {
		return t.refuse(SameFile, "the running program")
	}
	if loops := t.loopsOf(t.id); len(loops) > 0 {
		return t.refuse(InUse, loops...)
	}
	for _, path := range t.swaps {
		if id, err := t.stat(path); err == nil && id.same(t.id) {
			return t.refuse(Swap, path)
		}
	}
	if t.id.mode.Perm()&0o222 == 0 {
		return t.refuse(ReadOnly)
	}
	return nil
}
