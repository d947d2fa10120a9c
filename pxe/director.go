package pxe

import (
	"context"
	"net"
	"net/netip"
)

// A Verdict is what becomes of a machine that asks to boot.
type Verdict int

// The verdicts, docs/boot.md, section 3.
const (
	Ignore Verdict = iota // it gets no answer
	Local                 // it boots its own disk
	Agent                 // it boots the boot environment
)

// A Client is what a machine tells of itself when it asks to boot. None of it
// is proved.
type Client struct {
	MAC     net.HardwareAddr
	UUID    string     // of SMBIOS, lower case, as Linux prints it; empty if it is not told
	Serial  string     // of SMBIOS; empty if it is not told
	Arch    Arch       // Unknown where the request does not say
	Address netip.Addr // that it asks from; not valid in DHCP
}

// A Decision is what becomes of a machine, and how.
type Decision struct {
	Verdict Verdict
	Loader  Loader   // empty is the server's default
	Args    []string // for the kernel's command line, each one word
}

// A File is one file of a machine's archive.
type File struct {
	Name string // slash-separated, without a leading slash
	Data []byte
}

// A Director decides what becomes of machines. Its methods are called from
// many goroutines. Direct must answer within a second, and Offer within five.
type Director interface {
	// Direct tells what becomes of a machine. It changes nothing: a machine asks
	// several times in one boot.
	Direct(ctx context.Context, c Client) (Decision, error)

	// Offer is called once for each boot of the boot environment, and returns
	// the files of the machine's archive: they carry its secrets.
	Offer(ctx context.Context, c Client) ([]File, error)
}

// An Arch is a kind of firmware and processor.
type Arch string

// The architectures that have boot files; Unknown is any other, or none told.
const (
	Unknown Arch = ""
	BIOS    Arch = "bios"
	X64     Arch = "x64"
	ARM64   Arch = "arm64"
)

// A Loader is what UEFI machines load first.
type Loader string

// The loaders. Shim is the default: it works with Secure Boot on and off.
const (
	Shim  Loader = "shim"
	IPXE  Loader = "ipxe"
	Image Loader = "image" // boot.img, for UEFI HTTP boot alone
)
