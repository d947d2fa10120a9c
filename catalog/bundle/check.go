package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Bounds of a manifest's lists, section 5.
const (
	mostEntries  = 200_000 // of all overlays, and what they delete
	mostPayloads = 1000
	mostPackages = 10_000 // of one payload
	mostRuns     = 100
	mostFiles    = mostEntries + 2*mostPackages
)

// SetUID in Manifest.Allow lets entries have the setuid and setgid bits, and
// capabilities.
const SetUID = "setuid"

// check returns which rule of section 5 m breaks.
func (m *Manifest) check() error {
	return cmp.Or(
		m.Header.check(),
		at("allow", m.checkAllow()),
		at("kind", m.checkKind()),
		each("payload", mostPayloads, m.Payload, m.checkPayload),
		at("payload", m.checkTogether()),
		each("run", mostRuns, m.Run, m.checkRun),
		m.checkFiles(),
	)
}

func (m *Manifest) checkAllow() error {
	if len(m.Allow) > 1 || len(m.Allow) == 1 && m.Allow[0] != SetUID {
		return fmt.Errorf("%q, want %s or nothing", m.Allow, SetUID)
	}
	return nil
}

// checkKind checks that the bundle does what its kind does.
func (m *Manifest) checkKind() error {
	does := len(m.Payload) > 0 || len(m.Run) > 0
	switch {
	case m.Kind == Collection && does:
		return errors.New("a collection has neither payload nor run")
	case m.Kind != Collection && !does:
		return errors.New("a bundle with neither payload nor run must be a collection")
	case m.Kind != Collection && len(m.Payload) == 0 && m.Detect == (Detect{}):
		return errors.New("a bundle that only runs programs needs detect")
	}
	return nil
}

// checkPayload checks one payload alone.
func (m *Manifest) checkPayload(p *Payload) error {
	parts := 0
	for _, there := range []bool{p.Overlay != nil, len(p.Deb) > 0, len(p.RPM) > 0, p.Line != nil, p.Ini != nil} {
		if there {
			parts++
		}
	}
	if parts != 1 {
		return fmt.Errorf("has %d of overlay, deb, rpm, line and ini, want one", parts)
	}
	if m.Family == Windows && len(p.Deb)+len(p.RPM) > 0 {
		return errors.New("a Windows has neither dpkg nor rpm")
	}
	return cmp.Or(
		at("overlay", m.checkOverlay(p.Overlay)),
		each("deb", mostPackages, p.Deb, debKind.check),
		each("rpm", mostPackages, p.RPM, rpmKind.check),
		at("line", m.checkLine(p.Line)),
		at("ini", m.checkIni(p.Ini)),
	)
}

// checkTogether checks all payloads together, each being right.
func (m *Manifest) checkTogether() error {
	var places []place
	kinds := map[string]bool{}
	seen := map[[2]string]bool{}
	for _, p := range m.Payload {
		places = append(places, m.places(p)...)
		kinds["deb"] = kinds["deb"] || len(p.Deb) > 0
		kinds["rpm"] = kinds["rpm"] || len(p.RPM) > 0
		for _, pkg := range slices.Concat(p.Deb, p.RPM) {
			key := [2]string{pkg.Name, pkg.Arch}
			if seen[key] {
				return fmt.Errorf("package %s of %s is there twice", pkg.Name, pkg.Arch)
			}
			seen[key] = true
		}
	}
	if kinds["deb"] && kinds["rpm"] {
		return errors.New("both deb and rpm, but no system has both")
	}
	if len(places) > mostEntries {
		return fmt.Errorf("%d entries, at most %d are allowed", len(places), mostEntries)
	}
	return checkPlaces(places)
}

// places returns what a payload changes.
func (m *Manifest) places(p Payload) []place {
	switch {
	case p.Line != nil:
		return []place{newPlace(m.Family, p.Line.Path, edited)}
	case p.Ini != nil:
		return []place{newPlace(m.Family, p.Ini.Path, edited)}
	case p.Overlay == nil:
		return nil
	}
	var list []place
	for i := range p.Overlay.Entries {
		e := &p.Overlay.Entries[i]
		kind := leaf
		if e.Type == Directory {
			kind = folder
		}
		list = append(list, newPlace(m.Family, e.Path, kind))
	}
	for _, path := range p.Overlay.Delete {
		list = append(list, newPlace(m.Family, path, removed))
	}
	return list
}
