package probe

import (
	"fmt"
	"strings"
)

// reg returns a value of the registry; empty if it is not there.
func (p *Probes) reg(key, value string) (any, error) { return p.regText(key, value) }

// regText returns a value of an offline registry as text.
func (p *Probes) regText(key, value string) (text string, err error) {
	name, path, err := splitKey(key)
	if err != nil {
		return "", err
	}
	err = p.withHive(name, func(h *hive) error {
		if name == "SYSTEM" {
			if path, err = h.controlSet(path); err != nil {
				return err
			}
		}
		k, found, err := h.find(path)
		if found {
			text, _, err = h.value(k, value)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return text, nil
}

// splitKey divides a key into the hive that it lies in and its path there. Of
// a Windows that is not running there are HKLM\SOFTWARE and HKLM\SYSTEM.
func splitKey(key string) (hive, rest string, err error) {
	top, rest, _ := strings.Cut(key, `\`)
	hive, rest, _ = strings.Cut(rest, `\`)
	hive = strings.ToUpper(hive)
	machine := strings.EqualFold(top, "HKLM") || strings.EqualFold(top, "HKEY_LOCAL_MACHINE")
	if !machine || hive != "SOFTWARE" && hive != "SYSTEM" || rest == "" {
		return "", "", fmt.Errorf(`registry key %.200q is not below HKLM\SOFTWARE or HKLM\SYSTEM`, key)
	}
	return hive, rest, nil
}

// withHive calls f with an open hive, if the root has it. It is not kept open:
// the root could not be unmounted.
func (p *Probes) withHive(name string, f func(*hive) error) error {
	file, err := p.open("Windows/System32/config/" + name)
	if file == nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	h, err := openHive(file, st.Size())
	if err != nil {
		return err
	}
	return f(h)
}

// controlSet puts the set of settings that Windows starts with in the place of
// CurrentControlSet, which is a link while it runs.
func (h *hive) controlSet(path string) (string, error) {
	first, rest, _ := strings.Cut(path, `\`)
	if !strings.EqualFold(first, "CurrentControlSet") {
		return path, nil
	}
	k, found, err := h.find("Select")
	if err != nil {
		return "", err
	}
	if !found {
		return "", fmt.Errorf("%w: no key Select", errHive)
	}
	number, found, err := h.value(k, "Current")
	if err != nil {
		return "", err
	}
	if !found || len(number) > 3 {
		return "", fmt.Errorf("%w: Select has no sound Current", errHive)
	}
	set := "ControlSet" + "000"[len(number):] + number
	if rest == "" {
		return set, nil
	}
	return set + `\` + rest, nil
}
