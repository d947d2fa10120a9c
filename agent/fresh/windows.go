package fresh

import (
	"encoding/xml"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxComputerName is how many characters Windows takes as ComputerName
// (Microsoft-Windows-Shell-Setup).
const maxComputerName = 15

// windowsOn places the answer file if a volume has a Windows system. The volume is
// looked at read-only first: a hibernated Windows must not find it changed, and
// ntfs3 writes to none that is dirty.
func (r *run) windowsOn(v volume) error {
	windows := false
	err := r.withMount(v, ntfs, false, [][]string{nil}, func(roots []*os.File) (err error) {
		windows, err = isWindows(roots[0])
		return err
	})
	if errors.Is(err, errMount) {
		r.note(v.name, "ntfs: %v", err)
		return nil
	}
	if err != nil || !windows {
		return r.leave(v, err)
	}
	r.windows = true
	err = r.withMount(v, ntfs, true, [][]string{nil}, func(roots []*os.File) error {
		return r.placeAnswer(v, roots[0])
	})
	if errors.Is(err, errMount) {
		r.note(v.name, "the answer file was not placed: ntfs3 reads this volume but does not write to it, as it does with a dirty one, "+
			"which Windows did not shut down or wants to check: %v", err)
		return nil
	}
	return r.leave(v, err)
}

// leave makes a note of a leftError and returns any other error.
func (r *run) leave(v volume, err error) error {
	var left *leftError
	if !errors.As(err, &left) {
		return err
	}
	r.note(v.name, "the answer file was not placed: %v", left)
	r.windows = true
	return nil
}

// isWindows tells whether a file system has an installed Windows that was shut
// down.
func isWindows(root *os.File) (bool, error) {
	top := &folder{root, ""}
	windows, err := top.sub("Windows")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer windows.Close()
	if name, err := windows.find("System32"); err != nil || name == "" {
		return false, err
	}
	return true, awake(top)
}

// awake refuses a volume that is part of a hibernated Windows, as fast startup
// leaves it: hiberfil.sys then begins with "hibr", in either case (ntfs-3g,
// which refuses it as well; all zeros or "wake" afterwards).
func awake(top *folder) error {
	name, err := top.find("hiberfil.sys")
	if err != nil || name == "" {
		return err
	}
	if _, err := top.regular(name); err != nil {
		return err
	}
	f, err := open(top.File, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, plainly)
	if err != nil {
		return err
	}
	defer f.Close()
	head := make([]byte, 4)
	if n, _ := f.ReadAt(head, 0); n == len(head) && strings.EqualFold(string(head), "hibr") {
		return &leftError{name, "Windows is hibernated (shut it down with Shift held, or switch off fast startup, before the capture)"}
	}
	return nil
}

// placeAnswer writes the answer file to Windows\Panther, where Windows Setup
// looks for it (Windows Setup Automation Overview, implicit search order).
func (r *run) placeAnswer(v volume, root *os.File) error {
	windows, err := (&folder{root, ""}).sub("Windows")
	if err != nil {
		return err
	}
	defer windows.Close()
	panther, err := windows.sub("Panther")
	if errors.Is(err, fs.ErrNotExist) {
		panther, err = windows.mkdir("Panther")
	}
	if err != nil {
		return err
	}
	defer panther.Close()
	name, err := panther.find("unattend.xml")
	if err != nil {
		return err
	}
	if name == "" {
		name = "unattend.xml"
	}
	changed, err := panther.replace(name, fillIn(r.opt.Answer, r.opt.Hostname), 0o644)
	if changed && err == nil {
		r.changed(v.name, panther.path+"/"+name)
	}
	r.doubts(v, panther)
	return err
}

// mkdir makes a folder in d.
func (d *folder) mkdir(name string) (*folder, error) {
	err := control(d.File, func(fd int) error { return unix.Mkdirat(fd, name, 0o755) })
	if err == nil {
		err = d.flush()
	}
	if err != nil {
		return nil, &fs.PathError{Op: "making", Path: name, Err: err}
	}
	return d.sub(name)
}

// doubts notes why Windows may not take the answer file, or not all of it.
func (r *run) doubts(v volume, panther *folder) {
	if len(r.opt.Hostname) > maxComputerName && strings.Contains(r.opt.Answer, hostnameMark) {
		r.note(v.name, "%s has more than the %d characters that Windows takes as a name", r.opt.Hostname, maxComputerName)
	}
	unattend, err := panther.sub("Unattend")
	if err != nil {
		return // as it should be
	}
	defer unattend.Close()
	if name, err := unattend.find("unattend.xml"); err == nil && name != "" {
		r.note(v.name, "%s/%s is there as well, and Windows takes it first", unattend.path, name)
	}
}

// hostnameMark stands for the machine's name in an answer file.
const hostnameMark = "%HOSTNAME%"

// fillIn puts the name into an answer file, in the form that XML wants.
func fillIn(answer, hostname string) []byte {
	var name strings.Builder
	_ = xml.EscapeText(&name, []byte(hostname)) // a Builder takes everything
	return []byte(strings.ReplaceAll(answer, hostnameMark, name.String()))
}
