package blockdev

import "fmt"

// A Reason tells why a path was refused. The values are stable: programs read
// them in --json.
type Reason string

// The reasons for which a source or target is refused.
const (
	Missing      Reason = "missing"       // no such device; a file in its place would fill memory, not a disk
	WrongKind    Reason = "wrong-kind"    // neither a block device nor a plain file
	Mounted      Reason = "mounted"       // it, a part of it, or something that lies on it
	Swap         Reason = "swap"          // it, a part of it, or something that lies on it
	InUse        Reason = "in-use"        // something lies on it: LVM, dm-crypt, md, bcache, a loop device
	Busy         Reason = "busy"          // another program has claimed it
	ReadOnly     Reason = "read-only"     // the device, the file or its file system
	NoPermission Reason = "no-permission" // this user may not
	SystemDisk   Reason = "system-disk"   // the running system lies on it
	Holds        Reason = "holds"         // it stores a file that must survive
	SameFile     Reason = "same"          // it is the very file or device that must survive
	Changed      Reason = "changed"       // another device or file took the path while it was checked
)

// A RefusedError reports that a source or target must not be used. Nothing
// has been written to it.
type RefusedError struct {
	Path   string // as the caller gave it
	Reason Reason
	Detail string // mount points, holders, the file that is in the way
}

func (e *RefusedError) Error() string {
	switch e.Reason {
	case Missing:
		return e.Path + " does not exist, and a device is not created by writing to it"
	case WrongKind:
		return fmt.Sprintf("%s is %s", e.Path, e.Detail)
	case Mounted:
		return fmt.Sprintf("%s is mounted on %s", e.Path, e.Detail)
	case Swap:
		return fmt.Sprintf("%s is in use as swap (%s)", e.Path, e.Detail)
	case InUse:
		return fmt.Sprintf("%s is in use by %s", e.Path, e.Detail)
	case Busy:
		return e.Path + " is busy: another program has claimed it"
	case ReadOnly:
		return e.Path + " is read-only"
	case NoPermission:
		return e.Path + ": permission denied"
	case SystemDisk:
		return e.Path + " is the disk this system runs from"
	case Holds:
		return fmt.Sprintf("%s holds %s", e.Path, e.Detail)
	case SameFile:
		return fmt.Sprintf("%s and %s are the same", e.Path, e.Detail)
	case Changed:
		return e.Path + " changed while it was opened"
	}
	return fmt.Sprintf("%s is refused: %s", e.Path, e.Reason)
}
