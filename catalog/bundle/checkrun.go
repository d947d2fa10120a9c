package bundle

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// Bounds of programs, section 5.
const (
	mostArgs       = 100
	mostScripts    = 100
	longestTimeout = 86400 // seconds
)

// holder finds {{NAME}}, which stands for a parameter.
var holder = regexp.MustCompile(`\{\{([A-Za-z_][A-Za-z0-9_]{0,63})\}\}`)

// checkRun checks one program.
func (m *Manifest) checkRun(r *Run) error {
	if err := cmp.Or(
		m.checkPhase(r),
		each("exec", mostArgs, r.Exec, m.checkArg),
		each("scripts", mostScripts, r.Scripts, m.checkScript),
		m.checkCodes(r),
	); err != nil {
		return err
	}
	if r.Timeout < 1 || r.Timeout > longestTimeout {
		return at("timeout_seconds", fmt.Errorf("%d, want 1 to %d", r.Timeout, longestTimeout))
	}
	names := map[string]bool{}
	for _, s := range r.Scripts {
		name := strings.ToLower(s.Name)
		if names[name] {
			return at("scripts", fmt.Errorf("%q is there twice", s.Name))
		}
		names[name] = true
	}
	return at("exec", checkProgram(r))
}

// checkPhase checks when a program runs and what becomes of it.
func (m *Manifest) checkPhase(r *Run) error {
	switch {
	case r.Phase == "":
		return at("phase", errors.New("is missing, want pre, post or firstboot"))
	case m.Family == Windows && r.Phase != FirstBoot:
		return at("phase", fmt.Errorf("%q, but programs of a Windows run at its first boot: want firstboot", string(r.Phase)))
	case r.Retry != "" && r.Phase != FirstBoot:
		return at("retry", errors.New("is for firstboot alone"))
	case r.Net && r.Phase == FirstBoot:
		return at("net", errors.New("is not for firstboot: a system that runs has its own network"))
	}
	return cmp.Or(
		at("phase", checkOneOf(r.Phase, Pre, Post, FirstBoot)),
		at("retry", checkOneOf(r.Retry, Safe, NoRun)),
	)
}

// checkProgram checks that it can be told which program is meant.
func checkProgram(r *Run) error {
	if len(r.Exec) == 0 || r.Exec[0] == "" {
		return errors.New("is missing")
	}
	name := r.Exec[0]
	isScript := slices.ContainsFunc(r.Scripts, func(s Script) bool { return s.Name == name })
	switch {
	case holder.MatchString(name):
		return fmt.Errorf("program %q is a parameter", name)
	case isScript || strings.HasPrefix(name, "/"):
		return nil
	case strings.Contains(name, "/"):
		return fmt.Errorf("program %q: want one of scripts, an absolute path, or a name alone", name)
	}
	return nil
}

// checkArg checks a word of a program.
func (m *Manifest) checkArg(s *string) error {
	if err := checkText(*s, longestText); err != nil {
		return err
	}
	return m.checkHolders(*s)
}

// checkHolders checks that every {{NAME}} in text is a parameter.
func (m *Manifest) checkHolders(text string) error {
	for _, match := range holder.FindAllStringSubmatch(text, -1) {
		if !slices.ContainsFunc(m.Params, func(p Param) bool { return p.Name == match[1] }) {
			return fmt.Errorf("%s is no parameter of this bundle", match[0])
		}
	}
	return nil
}

// checkScript checks one file that a program finds.
func (m *Manifest) checkScript(s *Script) error {
	if err := checkFileName(s.Name); err != nil {
		return at("name", err)
	}
	if s.Mode != 0o755 && s.Mode != 0o644 {
		return at("mode", fmt.Errorf("%#o, want 0755 or 0644", s.Mode))
	}
	if m.Family == Windows {
		return at("name", checkWindowsName(s.Name))
	}
	return nil
}

// checkCodes checks the exit codes: 0 to 255, in a Windows any of 32 bits.
func (m *Manifest) checkCodes(r *Run) error {
	most := 255
	if m.Family == Windows {
		most = math.MaxUint32
	}
	if len(r.OK) == 0 {
		return at("ok", errors.New("is missing"))
	}
	for _, code := range r.Reboot {
		if slices.Contains(r.OK, code) {
			return at("reboot_codes", fmt.Errorf("%d is in ok, too", code))
		}
	}
	return cmp.Or(at("ok", checkRising(r.OK, 0, most)), at("reboot_codes", checkRising(r.Reboot, 0, most)))
}
