package probe

import (
	"fmt"
	"path"
	"slices"

	"slipcast/catalog/condition"
)

// dmi returns a field of the machine's DMI.
func (p *Probes) dmi(field string) (any, error) {
	if p.machine == nil {
		return nil, condition.ErrNoMachine
	}
	switch field {
	case "vendor":
		return p.machine.Vendor, nil
	case "product":
		return p.machine.Product, nil
	case "serial":
		return p.machine.Serial, nil
	case "board":
		return p.machine.Board, nil
	case "bios":
		return p.machine.BIOS, nil
	default:
		return nil, fmt.Errorf("a machine has no field %.40q", field)
	}
}

// modalias tells whether a device of the machine has an alias like glob.
func (p *Probes) modalias(glob string) (any, error) {
	if p.machine == nil {
		return nil, condition.ErrNoMachine
	}
	if _, err := path.Match(glob, ""); err != nil {
		return nil, err
	}
	return slices.ContainsFunc(p.machine.Modaliases, func(alias string) bool {
		ok, _ := path.Match(glob, alias)
		return ok
	}), nil
}

func (p *Probes) memory() (any, error) {
	if p.machine == nil {
		return nil, condition.ErrNoMachine
	}
	return p.machine.Memory, nil
}

func (p *Probes) firmware() (any, error) {
	if p.machine == nil {
		return nil, condition.ErrNoMachine
	}
	if p.machine.UEFI {
		return "uefi", nil
	}
	return "bios", nil
}

// identity returns what the machine is called.
func (p *Probes) identity(field string) (any, error) {
	if p.machine == nil {
		return nil, condition.ErrNoMachine
	}
	switch field {
	case "name":
		return p.machine.Name, nil
	case "uuid":
		return p.machine.UUID, nil
	case "mac":
		return p.machine.MAC, nil
	default:
		return nil, fmt.Errorf("a machine has no %.40q", field)
	}
}
