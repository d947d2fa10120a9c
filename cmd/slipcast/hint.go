package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"slipcast/catalog/apply"
	"slipcast/catalog/plan"
	"slipcast/catalog/trust"
	"slipcast/image"
	"slipcast/image/store"
	"slipcast/internal/blockdev"
	"slipcast/internal/progress"
	"slipcast/multicast"
	"slipcast/pxe/bootenv"
	"slipcast/pxe/debian"
)

// hintFor returns advice for people about an error, or nothing.
func hintFor(err error) string {
	var refused *blockdev.RefusedError
	var unwilling *refusal
	var unreleased *notReleased
	var small *image.TooSmallError
	var missing *fs.PathError
	var pinned *pinError
	var cert *tls.CertificateVerificationError
	switch {
	case errors.As(err, &missing) && errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(missing.Path, "/dev/"):
		return disksHint()
	case errors.As(err, &refused):
		return refusedHint(refused.Reason)
	case errors.As(err, &unwilling) && unwilling.reason == noTerminal:
		return "give --yes to overwrite it without asking"
	case errors.As(err, &unreleased):
		return unreleased.way
	case errors.As(err, &small):
		return fmt.Sprintf("%s do not hold %s; shrink the last partition of the source and its file system, and capture it again",
			progress.Bytes(small.Have), progress.Bytes(small.Need))
	case errors.Is(err, image.ErrSectorSize):
		return "a partition table counts in sectors; restore to a disk with sectors of the same size"
	case errors.Is(err, multicast.ErrNobody):
		return "run slipcast receive on the machines; if they do not find this session, give them --from with the address of this machine"
	case errors.Is(err, multicast.ErrNoSession):
		return "is slipcast send running, on the same network? --from takes the sender's address where announcements do not get through"
	case errors.Is(err, multicast.ErrAmbiguous):
		return "--session chooses one by its name, --from by its sender"
	case errors.Is(err, multicast.ErrRefused):
		return "sender and receiver need the same --key, or neither; --fingerprint is what send has printed"
	case errors.Is(err, store.ErrNotStore):
		return "slipcast store init makes a store; --store or SLIPCAST_STORE says where it is"
	case errors.Is(err, store.ErrNotFound):
		return "slipcast store list lists what is there"
	case errors.Is(err, store.ErrInUse):
		return "try again when the restore, session or mount that reads it has ended"
	case errors.As(err, &pinned), errors.As(err, &cert):
		return "--pin takes a server by its key, whoever signed it; make sure that it is the right one first"
	case errors.Is(err, errRemoteRefused):
		return "put the server's token into SLIPCAST_TOKEN; it is sent by https alone"
	case errors.Is(err, debian.ErrNoKeyring):
		return "install the package debian-archive-keyring, or give --keyring its debian-archive-keyring.gpg"
	case errors.Is(err, debian.ErrExpired):
		return "is the clock of this machine right? if it is, --mirror chooses a mirror that is up to date"
	case errors.Is(err, bootenv.ErrOldGRUB):
		return "take the loaders of Debian 13 or newer: --suite trixie"
	case errors.Is(err, bootenv.ErrMismatch):
		return "--modules takes the folder /lib/modules/VERSION of just that kernel"
	case errors.Is(err, bootenv.ErrNotAgent):
		return "--agent takes the slipcast of a release for that architecture, or what make build makes"
	case errors.Is(err, bootenv.ErrForeign):
		return "a build replaces the whole folder; give -o a folder of its own"
	case errors.Is(err, bootenv.ErrDamaged):
		return "slipcast boot build makes it anew"
	case errors.Is(err, trust.ErrNotCatalog):
		return "slipcast catalog init makes one; --store or SLIPCAST_STORE says where the store is"
	case errors.Is(err, trust.ErrOnlineKey):
		return "--online-key says where the online key is; only slipcast catalog rotate --new-online-key makes another key that"
	case errors.Is(err, errNoTerminal):
		return "--passphrase-file or SLIPCAST_PASSPHRASE gives it; --no-passphrase makes a key without one"
	case errors.Is(err, trust.ErrExists):
		return "give it another release or version; what machines may have been given does not change"
	case errors.Is(err, plan.ErrStale):
		return "slipcast catalog plan makes a new one"
	case errors.Is(err, apply.ErrChanged):
		return "--force undoes it all the same, and what was changed since is lost"
	case errors.Is(err, apply.ErrLocked):
		return "try again when the other one has ended"
	case errors.Is(err, apply.ErrDowngrade):
		return "--allow-downgrade replaces a recalled version by a lower one"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, apply.ErrNoSpace):
		return "make room there, or write to another disk"
	}
	return ""
}

func refusedHint(r blockdev.Reason) string {
	switch r {
	case blockdev.Mounted:
		return "unmount it first; the disk of a running system is captured after booting from another one"
	case blockdev.Swap:
		return "run swapoff on it first"
	case blockdev.InUse:
		return "stop what lies on it first (vgchange -an, cryptsetup close, mdadm --stop, losetup -d)"
	case blockdev.Busy:
		return "another program has it open; fuser -v tells which"
	case blockdev.ReadOnly:
		return "if that is not on purpose: blockdev --setrw, or the switch on the medium"
	case blockdev.NoPermission:
		return "run slipcast as root"
	case blockdev.Missing:
		return disksHint()
	case blockdev.SystemDisk:
		return "boot from another disk or the network to overwrite this one"
	}
	return ""
}

// disksHint names the disks of this machine.
func disksHint() string {
	disks, err := blockdev.List()
	if err != nil || len(disks) == 0 {
		return ""
	}
	var names []string
	for _, d := range disks {
		names = append(names, fmt.Sprintf("%s (%s)", d.Path, describe(d)))
	}
	return "the disks of this machine are " + strings.Join(names, ", ")
}
