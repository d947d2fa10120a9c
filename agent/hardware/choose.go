package hardware

import (
	"errors"
	"fmt"
	"strings"

	"slipcast/agent/wire"
)

// ErrNoDisk reports that no disk fits a rule. The text says for each disk why
// not.
var ErrNoDisk = errors.New("no disk fits")

// Choose returns the disk that a rule means, docs/boot.md, section 8. need are
// the bytes that it must have. It is nil where candidates are two or more: then
// somebody has to be asked. Without any, the error wraps [ErrNoDisk].
//
// A disk that is not told from another by [Same] is never chosen, since it could
// not be found again.
func Choose(rule wire.Rule, need int64, disks []wire.Disk) (chosen *wire.Disk, candidates []wire.Disk, err error) {
	var why []string
	for _, d := range disks {
		reason := unfit(rule, need, d)
		if reason == "" && twins(d, disks) > 1 {
			reason = "another disk has the same serial number, path, wwn and size"
		}
		if reason != "" {
			why = append(why, fmt.Sprintf("%s: %s", Describe(d), reason))
			continue
		}
		candidates = append(candidates, d)
	}
	switch {
	case len(candidates) == 1:
		return &candidates[0], candidates, nil
	case len(candidates) > 1:
		return nil, candidates, nil
	case len(why) == 0:
		return nil, nil, fmt.Errorf("%w: the machine has none that the boot environment can see", ErrNoDisk)
	}
	return nil, nil, fmt.Errorf("%w %s: %s", ErrNoDisk, ruleText(rule), strings.Join(why, "; "))
}

// twins counts the disks that cannot be told from d.
func twins(d wire.Disk, disks []wire.Disk) int {
	n := 0
	for _, o := range disks {
		if Same(d, o) {
			n++
		}
	}
	return n
}

// Same tells whether two descriptions are of the same disk, whatever the kernel
// calls it.
func Same(a, b wire.Disk) bool {
	return a.Serial == b.Serial && a.Path == b.Path && a.WWN == b.WWN && a.Size == b.Size
}

// unfit returns why a disk is no candidate, empty if it is one.
func unfit(rule wire.Rule, need int64, d wire.Disk) string {
	if reason := mismatch(rule, d); reason != "" {
		return reason
	}
	named := rule.Serial != "" || rule.WWN != "" || rule.Path != ""
	switch {
	case d.Size <= 0:
		return "it has no medium"
	case d.ReadOnly:
		return "it is read-only"
	case d.InUse != "":
		return "it is " + d.InUse
	case d.Removable:
		return "its medium can be taken out"
	case d.External && !named:
		return "it is not built in, so a rule must name it"
	case eMMC(d) && !named:
		return "it is an eMMC, so a rule must name it"
	case d.Size < need:
		return fmt.Sprintf("the image needs %d bytes, it has %d", need, d.Size)
	case d.Serial == "" && d.Path == "":
		return "it has neither a serial number nor a path, so it could not be known again"
	}
	return ""
}

// mismatch returns what of a rule a disk does not fulfil. Texts are compared
// without regard to case, a model also by its beginning, a path without the
// folder; nothing else is guessed.
func mismatch(rule wire.Rule, d wire.Disk) string {
	wantPath := strings.TrimPrefix(rule.Path, "/dev/disk/by-path/")
	switch {
	case rule.Serial != "" && !strings.EqualFold(rule.Serial, d.Serial):
		return "another serial number is wanted"
	case rule.WWN != "" && !strings.EqualFold(trimWWN(rule.WWN), trimWWN(d.WWN)):
		return "another wwn is wanted"
	case rule.Path != "" && wantPath != d.Path:
		return "another path is wanted"
	case rule.Model != "" && !hasPrefixFold(d.Model, rule.Model):
		return "another model is wanted"
	case rule.Transport != "" && !strings.EqualFold(rule.Transport, d.Transport):
		return "it is not on " + clean(rule.Transport)
	case rule.Min > 0 && d.Size < rule.Min:
		return fmt.Sprintf("it is smaller than %d bytes", rule.Min)
	case rule.Max > 0 && d.Size > rule.Max:
		return fmt.Sprintf("it is larger than %d bytes", rule.Max)
	}
	return ""
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// trimWWN takes away what the name in /dev/disk/by-id has besides the number.
func trimWWN(s string) string {
	return strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(s), "wwn-"), "0x")
}

// ruleText names a rule for people.
func ruleText(r wire.Rule) string {
	var list []string
	for _, f := range []struct{ name, value string }{
		{"serial", r.Serial}, {"wwn", r.WWN}, {"path", r.Path}, {"model", r.Model}, {"transport", r.Transport},
	} {
		if f.value != "" {
			list = append(list, f.name+"="+clean(f.value))
		}
	}
	if r.Min > 0 {
		list = append(list, fmt.Sprintf("min=%d", r.Min))
	}
	if r.Max > 0 {
		list = append(list, fmt.Sprintf("max=%d", r.Max))
	}
	if len(list) == 0 {
		return "(the only internal disk is wanted)"
	}
	return "(" + strings.Join(list, ",") + ")"
}

// Answer returns the one candidate that an answer names, by serial number or
// path. It is nil if there is none, or two.
func Answer(candidates []wire.Disk, answer string) *wire.Disk {
	var found *wire.Disk
	for i, d := range candidates {
		if answer == "" || d.Serial != answer && d.Path != answer {
			continue
		}
		if found != nil {
			return nil
		}
		found = &candidates[i]
	}
	return found
}

// Describe names a disk for people.
func Describe(d wire.Disk) string {
	text := d.Name
	for _, s := range []string{d.Model, d.Serial, d.Path} {
		if s != "" {
			text += ", " + s
		}
	}
	return fmt.Sprintf("%s, %.1f GB", text, float64(d.Size)/1e9)
}
