package fleet

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"slipcast/agent/wire"
)

// ErrMalformed reports what an agent or a person sent that is not as
// docs/boot.md says.
var ErrMalformed = errors.New("malformed")

// Bounds of what an agent tells, see package wire.
const (
	maxDisks      = 256
	maxNICs       = 64
	maxModaliases = 2048
	maxNotes      = 64
	maxSize       = 1 << 60 // bytes of anything
	maxAnswer     = 256 << 10
	maxInventory  = 256 << 10 // bytes of the JSON of an inventory: those of servers with 60 disks have 50 KiB
)

// cleanInventory makes the texts of an inventory plain and its addresses
// canonical. Firmware says what it likes: a text that is odd is no reason to
// leave a machine without its job, but numbers and lists that cannot be are
// [ErrMalformed].
func cleanInventory(inv *wire.Inventory) error {
	for _, text := range []*string{
		&inv.Serial, &inv.Vendor, &inv.Product, &inv.Board, &inv.BIOS, &inv.CPU,
		&inv.Arch, &inv.Firmware, &inv.SecureBoot, &inv.Kernel, &inv.Version,
	} {
		*text = wire.Plain(*text, wire.MaxField)
	}
	inv.UUID, inv.MAC = canonicalUUID(inv.UUID), wire.MAC(inv.MAC)
	if inv.Threads < 0 || inv.Memory < 0 || inv.Memory > maxSize {
		return fmt.Errorf("%w: %d threads, %d bytes of memory", ErrMalformed, inv.Threads, inv.Memory)
	}
	if len(inv.NICs) > maxNICs || len(inv.Modaliases) > maxModaliases || len(inv.KernelNotes) > maxNotes {
		return fmt.Errorf("%w: %d NICs, %d modaliases, %d notes", ErrMalformed, len(inv.NICs), len(inv.Modaliases), len(inv.KernelNotes))
	}
	for i := range inv.NICs {
		if err := cleanNIC(&inv.NICs[i]); err != nil {
			return err
		}
	}
	cleanTexts(inv.Modaliases, wire.MaxField)
	cleanTexts(inv.KernelNotes, wire.MaxField)
	if err := cleanDisks(inv.Disks); err != nil {
		return err
	}
	if n := len(mustJSON(inv)); n > maxInventory {
		return fmt.Errorf("%w: an inventory of %d bytes, at most %d", ErrMalformed, n, maxInventory)
	}
	return nil
}

func cleanNIC(n *wire.NIC) error {
	for _, text := range []*string{&n.Name, &n.Driver, &n.Bus} {
		*text = wire.Plain(*text, wire.MaxField)
	}
	n.MAC = wire.MAC(n.MAC)
	if n.Speed < 0 {
		return fmt.Errorf("%w: a NIC of %d Mbit/s", ErrMalformed, n.Speed)
	}
	return nil
}

func cleanDisks(disks []wire.Disk) error {
	if len(disks) > maxDisks {
		return fmt.Errorf("%w: %d disks", ErrMalformed, len(disks))
	}
	for i := range disks {
		d := &disks[i]
		for _, text := range []*string{&d.Name, &d.Path, &d.Model, &d.Serial, &d.WWN, &d.Transport, &d.InUse} {
			*text = wire.Plain(*text, wire.MaxField)
		}
		if d.Size < 0 || d.Size > maxSize || d.Sector < 0 {
			return fmt.Errorf("%w: a disk of %d bytes, in sectors of %d", ErrMalformed, d.Size, d.Sector)
		}
	}
	return nil
}

func cleanTexts(list []string, most int) {
	for i := range list {
		list[i] = wire.Plain(list[i], most)
	}
}

// cleanReport does the same for a report.
func cleanReport(r *wire.Report) error {
	switch r.State {
	case wire.Working, wire.Asking, wire.Done, wire.Failed:
	default:
		return fmt.Errorf("%w: state %q", ErrMalformed, wire.Plain(string(r.State), 20))
	}
	if r.Seq == 0 || r.Seq > 1<<62 || r.Done < 0 || r.Total < 0 || r.Rate < 0 || r.Done > maxSize || r.Total > maxSize || r.Rate > maxSize {
		return fmt.Errorf("%w: seq %d, %d of %d bytes, %d a second", ErrMalformed, r.Seq, r.Done, r.Total, r.Rate)
	}
	if len(r.Lines) > wire.MaxLines || len(r.Notes) > 32 {
		return fmt.Errorf("%w: %d lines, %d notes", ErrMalformed, len(r.Lines), len(r.Notes))
	}
	if err := cleanCells(r.Cells); err != nil {
		return err
	}
	for _, text := range []*string{&r.Step, &r.Disk, &r.Result} {
		*text = wire.Plain(*text, wire.MaxField)
	}
	r.Error = wire.Plain(r.Error, wire.MaxText)
	cleanTexts(r.Notes, wire.MaxText)
	for i := range r.Lines {
		r.Lines[i].Text = wire.Plain(r.Lines[i].Text, wire.MaxText)
	}
	return cleanDisks(r.Candidates)
}

var cellState = regexp.MustCompile(`^[a-z][a-z-]{0,31}$`)

func cleanCells(cells []wire.Cell) error {
	if len(cells) > wire.MaxCells {
		return fmt.Errorf("%w: %d cells", ErrMalformed, len(cells))
	}
	for i := range cells {
		c := &cells[i]
		c.Product, c.Version, c.Severity = wire.Plain(c.Product, wire.MaxField), wire.Plain(c.Version, wire.MaxField), wire.Plain(c.Severity, 20)
		c.Reason = wire.Plain(c.Reason, wire.MaxText)
		if c.Product == "" || !cellState.MatchString(string(c.State)) {
			return fmt.Errorf("%w: a cell of %q in the state %q", ErrMalformed, c.Product, wire.Plain(string(c.State), 40))
		}
	}
	return nil
}

var uuidForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// canonicalUUID returns the UUID in lower case, and nothing for what is none.
func canonicalUUID(text string) string {
	if text = strings.ToLower(strings.TrimSpace(text)); uuidForm.MatchString(text) {
		return text
	}
	return ""
}

// IsUUID tells whether text is a UUID in lower case, as Linux prints it.
func IsUUID(text string) bool { return uuidForm.MatchString(text) }

var nameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)

// checkName refuses what is no name of a machine: one label of a host name,
// RFC 1123, section 2.1, that is not all digits.
func checkName(name string) error {
	if !nameForm.MatchString(name) || strings.Trim(name, "0123456789") == "" {
		return fmt.Errorf("%w: %q is no host name: at most 63 letters, digits and hyphens, not all digits", ErrMalformed, wire.Plain(name, 80))
	}
	return nil
}
