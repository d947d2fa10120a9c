package bootenv

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A bootFile is a file of a boot folder, in memory.
type bootFile struct {
	data []byte
	from origin
}

// A Finding is what a program of a boot folder says of itself.
type Finding struct {
	Signers []string // "Debian Secure Boot Signer 2022 - grub2, by Debian Secure Boot CA"; none if it is not signed
	SBAT    []string // "grub,5"; components with their generations
	Trusts  []string // of a shim: whose signatures it accepts
	GRUB    string   // version of a GRUB
	Refused string   // why the shim of the folder would not start it under Secure Boot; empty if it would
}

// examine looks at the programs of one architecture, by their names in the
// boot folder. What only matters to some machines is told in the findings; the
// error is for what none can boot with. A signature that does not hold is
// [ErrSignature], a GRUB that cannot boot from a network [ErrOldGRUB], a
// program for another processor [ErrMismatch].
func examine(arch Arch, files map[string]bootFile) (map[string]*Finding, error) {
	e := &examiner{arch: arch, programs: map[string]*Program{}, findings: map[string]*Finding{}}
	dir := string(arch) + "/"
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if short, found := strings.CutPrefix(name, dir); found && (strings.HasSuffix(name, ".efi") || short == "linux") {
			if err := e.read(name, files[name].data); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	for _, name := range []string{"shim.efi", "grub.efi", "linux"} {
		if e.findings[dir+name] == nil {
			return nil, fmt.Errorf("%w: there is no %s", ErrMalformed, dir+name)
		}
	}
	if err := e.readGRUB(dir + "grub.efi"); err != nil {
		return nil, err
	}
	return e.findings, e.readShim(dir)
}

type examiner struct {
	arch     Arch
	programs map[string]*Program
	findings map[string]*Finding
}

// read reads one program. A kernel need not be one, though firmware cannot
// start it then.
func (e *examiner) read(name string, data []byte) error {
	finding := &Finding{}
	p, err := ParseProgram(data)
	if errors.Is(err, ErrNotProgram) && strings.HasSuffix(name, "/linux") {
		finding.Refused = err.Error()
		e.findings[name] = finding
		return nil
	}
	if err != nil {
		return err
	}
	if p.Arch != debianArch(e.arch) {
		return fmt.Errorf("%w: it is for %s, not %s", ErrMismatch, p.Arch, e.arch)
	}
	signatures, err := p.Signatures()
	if err != nil && !errors.Is(err, ErrUnsigned) {
		return err
	}
	for _, s := range signatures {
		finding.Signers = append(finding.Signers, s.Signer+", by "+s.Issuer)
	}
	if finding.SBAT, err = levels(p.Section(".sbat")); err != nil {
		return err
	}
	e.programs[name], e.findings[name] = p, finding
	return nil
}

// levels returns the components of SBAT data with their generations.
func levels(section []byte) ([]string, error) {
	components, err := ParseSBAT(section)
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, c := range components {
		texts = append(texts, fmt.Sprintf("%s,%d", c.Name, c.Generation))
	}
	return texts, nil
}

// readGRUB checks the GRUB's version and modules.
func (e *examiner) readGRUB(name string) error {
	g, err := ReadGRUB(e.programs[name])
	if err == nil {
		err = g.Check()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	e.findings[name].GRUB = g.Version
	return nil
}

// readShim asks the shim what it thinks of the others.
func (e *examiner) readShim(dir string) error {
	shim, err := ReadShim(e.programs[dir+"shim.efi"])
	if err != nil {
		return fmt.Errorf("%sshim.efi: %w", dir, err)
	}
	for _, cert := range shim.Trusted {
		finding := e.findings[dir+"shim.efi"]
		finding.Trusts = append(finding.Trusts, cert.Subject.CommonName)
	}
	for name, p := range e.programs {
		if name == dir+"shim.efi" {
			continue
		}
		if err := shim.Check(p); err != nil {
			e.findings[name].Refused = err.Error()
		}
	}
	return nil
}
