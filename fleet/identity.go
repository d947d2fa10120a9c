package fleet

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"slipcast/agent/wire"
)

// sharedUUIDs are UUIDs that many boards have. They tell nothing.
// 03000200-... is AMI's sample, see dmidecode's users and fwupd's quirks; the
// others are a firmware's way to say that nobody wrote one.
var sharedUUIDs = []string{
	"00000000-0000-0000-0000-000000000000",
	"ffffffff-ffff-ffff-ffff-ffffffffffff",
	"03000200-0400-0500-0006-000700080009",
	"00020003-0004-0005-0006-000700080009", // the same, its first fields in the other byte order
	"12345678-1234-5678-90ab-cddeefaabbcc",
	"12345678-1234-1234-1234-123456789abc",
}

// blankSerials are what boards without a serial number have instead, in lower
// case.
var blankSerials = []string{
	"", "0", "00000000", "123456789", "0123456789", "none", "n/a", "na", "not specified", "not available", "not applicable", "unknown",
	"default string", "system serial number", "to be filled by o.e.m.", "to be filled by oem", "chassis serial number", "invalid", "oem", "o.e.m.",
}

// An identity is by what a machine is known, each empty or nil if it tells
// nothing.
type identity struct {
	uuid    string
	serial  string
	product string   // empty: not told
	macs    []string // not of USB adapters
}

// identify returns by what a machine is known. shared are UUIDs of which the
// site knows that several machines have them.
func identify(inv *wire.Inventory, shared []string) identity {
	id := identity{uuid: tellingUUID(inv.UUID, shared), serial: tellingSerial(inv.Serial), product: inv.Product}
	usb := false
	for _, n := range inv.NICs {
		if n.Bus == "usb" {
			usb = usb || n.MAC == inv.MAC
			continue
		}
		if n.MAC != "" && !slices.Contains(id.macs, n.MAC) {
			id.macs = append(id.macs, n.MAC)
		}
	}
	if inv.MAC != "" && !usb && !slices.Contains(id.macs, inv.MAC) {
		id.macs = append(id.macs, inv.MAC)
	}
	return id
}

func tellingUUID(uuid string, shared []string) string {
	if slices.Contains(sharedUUIDs, uuid) || slices.Contains(shared, uuid) {
		return ""
	}
	return uuid
}

func tellingSerial(serial string) string {
	if slices.Contains(blankSerials, strings.ToLower(serial)) || strings.Trim(serial, "0 .-_xX") == "" {
		return ""
	}
	return serial
}

// find returns the ids of the machines that fit, in the order of docs/boot.md,
// section 6.1: the first property that any machine has decides. More than one
// cannot be told apart.
func (id identity) find(ctx context.Context, q querier) ([]string, error) {
	type try struct {
		ok    bool
		query string
		args  []any
	}
	tries := []try{
		{id.uuid != "", "SELECT id FROM machines WHERE uuid = ? LIMIT 3", []any{id.uuid}},
		{id.serial != "", "SELECT id FROM machines WHERE serial = ?1 AND (?2 = '' OR product = ?2) LIMIT 3", []any{id.serial, id.product}},
	}
	if len(id.macs) > 0 {
		list := mustJSON(id.macs)
		tries = append(tries, try{true, "SELECT DISTINCT machine FROM macs WHERE mac IN (SELECT value FROM json_each(?)) LIMIT 3", []any{list}})
	}
	for _, t := range tries {
		if !t.ok {
			continue
		}
		ids, err := collect(ctx, q, scanText, t.query, t.args...)
		if err != nil || len(ids) > 0 {
			return ids, err
		}
	}
	return nil, nil
}

// otherThan tells whether a machine with this identity cannot be m though both
// have the same UUID: nothing else of them is the same.
func (id identity) otherThan(m *Machine) bool {
	if id.uuid == "" || id.uuid != m.UUID || id.serial != "" && id.serial == tellingSerial(m.Serial) {
		return false
	}
	return len(id.macs) > 0 && len(m.MACs) > 0 && !slices.ContainsFunc(id.macs, func(mac string) bool { return slices.Contains(m.MACs, mac) })
}

// changes tells people what differs between two inventories of one machine.
func changes(old, now *wire.Inventory) []string {
	var out []string
	differ := func(what string, a, b any) {
		if a != b {
			out = append(out, fmt.Sprintf("%s: %v, it was %v", what, b, a))
		}
	}
	differ("memory in bytes", old.Memory, now.Memory)
	differ("processor", old.CPU, now.CPU)
	differ("serial number", old.Serial, now.Serial)
	differ("UUID", old.UUID, now.UUID)
	differ("firmware", old.BIOS, now.BIOS)
	differ("Secure Boot", old.SecureBoot, now.SecureBoot)
	out = append(out, comings("disk", diskNames(old.Disks), diskNames(now.Disks))...)
	return append(out, comings("network interface", nicNames(old.NICs), nicNames(now.NICs))...)
}

// comings tells which of the things have gone and which are new.
func comings(thing string, old, now []string) []string {
	var out []string
	for _, name := range old {
		if !slices.Contains(now, name) {
			out = append(out, fmt.Sprintf("%s gone: %s", thing, name))
		}
	}
	for _, name := range now {
		if !slices.Contains(old, name) {
			out = append(out, fmt.Sprintf("new %s: %s", thing, name))
		}
	}
	return out
}

// diskNames names the disks that belong to a machine, not the sticks in it.
func diskNames(disks []wire.Disk) []string {
	var names []string
	for _, d := range disks {
		if !d.Removable && !d.External {
			names = append(names, fmt.Sprintf("%s, %d bytes, serial number %s", d.Model, d.Size, d.Serial))
		}
	}
	return names
}

func nicNames(nics []wire.NIC) []string {
	var names []string
	for _, n := range nics {
		if n.Bus != "usb" && n.MAC != "" {
			names = append(names, n.MAC)
		}
	}
	return names
}
