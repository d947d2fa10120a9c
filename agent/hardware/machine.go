package hardware

import (
	"io/fs"
	"strconv"
	"strings"

	"slipcast/agent/wire"
)

// A Tree is where a machine is described.
type Tree struct {
	Sys  fs.FS // /sys
	Proc fs.FS // /proc
	Arch string
}

// Machine returns the inventory of a machine without its disks and network
// interfaces. What firmware fills in where a manufacturer had nothing to say
// ("To Be Filled By O.E.M.") is left out; whether a UUID is one that many
// machines share is the server's to judge.
func Machine(t Tree) wire.Inventory {
	dmi := func(name string) string { return told(attr(t.Sys, "class/dmi/id", name)) }
	inv := wire.Inventory{
		UUID: strings.ToLower(dmi("product_uuid")), Serial: dmi("product_serial"),
		Vendor: dmi("sys_vendor"), Product: dmi("product_name"),
		Board:  join(dmi("board_vendor"), dmi("board_name")),
		BIOS:   join(dmi("bios_vendor"), dmi("bios_version"), dmi("bios_date")),
		CPU:    cpu(t.Proc),
		Memory: memory(t.Proc),
		Arch:   t.Arch, Firmware: "bios", Kernel: attr(t.Proc, "sys/kernel/osrelease"),
	}
	inv.Threads = threads(t.Sys)
	if _, err := fs.Stat(t.Sys, "firmware/efi"); err == nil {
		inv.Firmware, inv.SecureBoot = "uefi", secureBoot(t.Sys)
	}
	return inv
}

// told returns what a manufacturer said, empty if that was nothing.
func told(s string) string {
	switch strings.ToLower(strings.TrimRight(s, ".")) {
	case "to be filled by o.e.m", "default string", "system serial number", "system product name",
		"system manufacturer", "not specified", "not applicable", "none", "n/a", "o.e.m", "invalid", "unknown":
		return ""
	}
	return s
}

func join(parts ...string) string {
	return clean(strings.Join(parts, " "))
}

// cpu returns the model of the first processor. On arm64 the kernel knows
// numbers alone.
func cpu(proc fs.FS) string {
	if model := field(proc, "cpuinfo", "model name"); model != "" {
		return model
	}
	if part := field(proc, "cpuinfo", "CPU part"); part != "" {
		return join("implementer", field(proc, "cpuinfo", "CPU implementer"), "part", part)
	}
	return ""
}

// threads counts the processors that the kernel runs on, a list like 0-3,8.
func threads(sys fs.FS) int {
	n := 0
	for part := range strings.SplitSeq(attr(sys, "devices/system/cpu/online"), ",") {
		low, high, isRange := strings.Cut(part, "-")
		a, err1 := strconv.Atoi(low)
		b, err2 := strconv.Atoi(high)
		switch {
		case isRange && err1 == nil && err2 == nil && a <= b && b < 1<<16:
			n += b - a + 1
		case !isRange && err1 == nil:
			n++
		}
	}
	return n
}

// memory returns the bytes of memory that the kernel has.
func memory(proc fs.FS) int64 {
	kib, ok := strings.CutSuffix(field(proc, "meminfo", "MemTotal"), " kB")
	n, err := strconv.ParseInt(kib, 10, 64)
	if !ok || err != nil || n < 0 || n > 1<<50 {
		return 0
	}
	return n << 10
}

// secureBoot reads the variable SecureBoot (UEFI 2.10, 3.3) as efivarfs shows
// it: four bytes of attributes, and then one that is 1 if it is on.
func secureBoot(sys fs.FS) string {
	p, err := fs.ReadFile(sys, "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")
	switch {
	case err != nil || len(p) != 5:
		return ""
	case p[4] == 1:
		return "on"
	}
	return "off"
}
