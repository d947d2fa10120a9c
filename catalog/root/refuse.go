package root

import "errors"

// A Reason tells why a volume is not mounted. The values are stable: programs
// read them in --json.
type Reason string

// The reasons.
const (
	Encrypted  Reason = "encrypted"   // LUKS, BitLocker
	Suspended  Reason = "suspended"   // a system sleeps on it: Windows hibernated or fast startup, a suspended Linux
	Dirty      Reason = "dirty"       // not cleanly unmounted, in a way that its driver here does not mend
	Damaged    Reason = "damaged"     // its driver has seen errors, or it cannot be what it says
	NoDriver   Reason = "no-driver"   // this kernel does not know the file system
	Container  Reason = "container"   // LVM, RAID and the like: what lies inside is not looked at
	Unmounted  Reason = "unmounted"   // the kernel refuses to mount it
	NotPresent Reason = "not-on-disk" // etc/fstab wants a volume that the disk does not have
)

// A RefusedError reports a volume that is not mounted. Nothing was written to it.
type RefusedError struct {
	Volume string // for people, or what etc/fstab says
	Reason Reason
	Detail string // a sentence for people
	Err    error  // of the kernel; else nil
}

func (e *RefusedError) Error() string { return e.Volume + ": " + e.Detail }
func (e *RefusedError) Unwrap() error { return e.Err }

// Errors of Mount. They come with what is known of each volume.
var (
	ErrNoSystem       = errors.New("no system was found")
	ErrSeveralSystems = errors.New("there is more than one system, and none was named")
)
