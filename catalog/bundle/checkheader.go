package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"slipcast/catalog/condition"
	"slipcast/catalog/version"
)

// The families of systems.
const (
	Linux   = "linux"
	Windows = "windows"
)

// mostItems is how many requirements, advisories and the like there may be.
const mostItems = 1000

// mostParams is how many parameters there may be.
const mostParams = 100

// Schema is the version of the manifest's format.
const Schema = 1

var paramPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// check returns which rule of section 5 h breaks.
func (h *Header) check() error {
	return cmp.Or(
		at("schema", h.checkSchema()),
		at("name", checkName(h.Name)),
		at("track", h.checkTrack()),
		at("scheme", h.checkScheme()),
		at("version", h.checkVersion()),
		at("release", h.checkRelease()),
		at("title", checkOneLine(h.Title, longestTitle)),
		at("severity", checkOneOf(h.Severity, Critical, Important, Moderate, Low)),
		at("kind", checkOneOf(h.Kind, Patch, App, Driver, Config, Data, Collection)),
		each("advisories", mostItems, h.Advisories, func(s *string) error { return checkWord(*s) }),
		at("family", h.checkFamily()),
		at("applies", checkCondition(h.Applies)),
		h.checkReferences(),
		each("upgrades_from", mostItems, h.From, h.checkFrom),
		at("detect", h.Detect.check()),
		at("reboot", checkOneOf(h.Reboot, Never, Deferred, Required, Between)),
		at("rollback", checkOneOf(h.Rollback, Files, Reimage)),
		each("params", mostParams, h.Params, (*Param).check),
		at("params", h.checkOrder()),
		at("needs", h.Needs.check()),
		at("kind", h.checkCollection()),
		at("machine_specific", h.checkMachine()),
	)
}

func (h *Header) checkSchema() error {
	if h.Schema != Schema {
		return fmt.Errorf("%d, want %d", h.Schema, Schema)
	}
	return nil
}

func (h *Header) checkTrack() error {
	if h.Track == "" {
		return nil
	}
	return checkName(h.Track)
}

func (h *Header) checkScheme() error {
	if !slices.Contains(version.Schemes(), h.Scheme) {
		return fmt.Errorf("%q, want %s", h.Scheme, orList(version.Schemes()))
	}
	return nil
}

func (h *Header) checkVersion() error {
	if err := checkVersionText(h.Version); err != nil {
		return err
	}
	_, err := version.Parse(h.Scheme, h.Version)
	return err
}

func (h *Header) checkRelease() error {
	if h.Release < 1 || h.Release > maxRelease {
		return fmt.Errorf("%d, want 1 to %d", h.Release, maxRelease)
	}
	return nil
}

func (h *Header) checkFamily() error {
	if h.Family != Linux && h.Family != Windows {
		return fmt.Errorf("%q, want %s or %s", h.Family, Linux, Windows)
	}
	return nil
}

// checkCondition checks a condition that may be left out.
func checkCondition(text string) error {
	if text == "" {
		return nil
	}
	if err := checkText(text, longestText); err != nil {
		return err
	}
	_, err := condition.CompileBool(text)
	return err
}

// check returns which rule d breaks.
func (d Detect) check() error {
	if err := at("present", checkCondition(d.Present)); err != nil || d.Version == "" {
		return err
	}
	if err := checkText(d.Version, longestText); err != nil {
		return at("version", err)
	}
	_, err := condition.CompileText(d.Version)
	return at("version", err)
}

// checkReferences checks what h says of products.
func (h *Header) checkReferences() error {
	other := func(r *Reference) error {
		if r.Product == h.Product() {
			return fmt.Errorf("%s is this product itself", r.Product)
		}
		return h.checkReference(r)
	}
	return cmp.Or(
		each("requires", mostItems, h.Requires, other),
		each("supersedes", mostItems, h.Supersedes, h.checkReference),
		each("conflicts", mostItems, h.Conflicts, other),
	)
}

// checkReference checks a reference. The scheme of another product is not
// known, so its range must be one of any scheme.
func (h *Header) checkReference(r *Reference) error {
	if _, _, err := ParseProduct(r.Product); err != nil {
		return at("product", err)
	}
	if r.Product == h.Product() {
		return at("range", h.checkRange(r.Range))
	}
	return at("range", checkAnyRange(r.Range))
}

func checkAnyRange(text string) error {
	if err := checkOneLine(text, longestText); err != nil {
		return err
	}
	var first error
	for _, scheme := range version.Schemes() {
		_, err := version.ParseRange(scheme, text)
		if err == nil {
			return nil
		}
		first = cmp.Or(first, err)
	}
	return first
}

// checkRange checks a range of the product itself.
func (h *Header) checkRange(text string) error {
	if err := checkOneLine(text, longestText); err != nil {
		return err
	}
	_, err := version.ParseRange(h.Scheme, text)
	return err
}

func (h *Header) checkFrom(f *From) error {
	if f.Nothing == (f.Range != "") {
		return errors.New("want either nothing or a range")
	}
	return at("range", h.checkRange(f.Range))
}

// check returns which rule p breaks.
func (p *Param) check() error {
	if !paramPattern.MatchString(p.Name) {
		return at("name", fmt.Errorf("%q: want 1 to 64 letters, digits and _, no digit first", p.Name))
	}
	if p.Default != "" && (p.Secret || p.Machine != "") {
		return at("default", errors.New("neither a secret nor what the machine gives has one"))
	}
	return cmp.Or(
		at("title", checkOneLine(p.Title, longestTitle)),
		at("default", checkText(p.Default, longestText)),
		at("machine", checkOneOf(p.Machine, "name", "uuid", "mac", "serial")),
	)
}

// checkOrder checks that the parameters are in their order, each there once.
func (h *Header) checkOrder() error {
	for i := 1; i < len(h.Params); i++ {
		if a, b := h.Params[i-1].Name, h.Params[i].Name; a >= b {
			return fmt.Errorf("%q after %q, want them in order, each once", b, a)
		}
	}
	return nil
}

// check returns which rule n breaks.
func (n Needs) check() error {
	if n.Bytes < 0 || n.Inodes < 0 {
		return fmt.Errorf("%d bytes and %d inodes, neither can be negative", n.Bytes, n.Inodes)
	}
	return each("commands", mostItems, n.Commands, func(s *string) error {
		return cmp.Or(checkWord(*s), checkFileName(*s))
	})
}

// checkCollection checks that a collection has something to collect.
func (h *Header) checkCollection() error {
	if h.Kind != Collection {
		return nil
	}
	if len(h.Requires) == 0 || h.Detect != (Detect{}) {
		return errors.New("a collection has requires, and no detect: it is there where all that it requires is")
	}
	return nil
}

// checkMachine checks that the header says truly whether it asks for the machine.
func (h *Header) checkMachine() error {
	if asks := h.asksMachine(); asks != h.Machine {
		return fmt.Errorf("%t, but conditions and parameters make it %t", h.Machine, asks)
	}
	return nil
}

// asksMachine tells whether a condition or a parameter asks for the machine.
// The conditions are ones that compile.
func (h *Header) asksMachine() bool {
	if slices.ContainsFunc(h.Params, func(p Param) bool { return p.Machine != "" }) {
		return true
	}
	return asks(h.Applies, condition.CompileBool) || asks(h.Detect.Present, condition.CompileBool) || asks(h.Detect.Version, condition.CompileText)
}

// asks tells whether a condition asks for the machine.
func asks(text string, compile func(string) (*condition.Condition, error)) bool {
	if text == "" {
		return false
	}
	c, err := compile(text)
	return err == nil && c.Machine()
}

// IsZero tells whether a root needs nothing; JSON leaves n out then.
func (n Needs) IsZero() bool { return n.Bytes == 0 && n.Inodes == 0 && len(n.Commands) == 0 }
