package sandbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Package is a package of the root's own package manager.
type Package struct {
	Path    string // of the file, outside of the root
	Name    string
	Version string
	Arch    string
}

// PackageOptions change how packages are installed.
type PackageOptions struct {
	AllowDowngrade bool              // a lower version may take the place of a higher one
	Timeout        time.Duration     // of each program; 0: none
	Line           func(line string) // as in Program
}

// A PackageError reports a package manager that did not do what it was asked for.
type PackageError struct {
	Tool   string // dpkg or rpm
	Doing  string
	Output string // the end of what it said
}

// Error tells the last lines of the output: dpkg names the package in the last,
// and says what is wrong before.
func (e *PackageError) Error() string {
	lines := slices.DeleteFunc(strings.Split(e.Output, "\n"), func(l string) bool { return strings.TrimSpace(l) == "" })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return fmt.Sprintf("%s, %s: %s", e.Tool, e.Doing, strings.Join(lines[max(0, len(lines)-3):], " | "))
}

// ErrDowngrade reports a package of which the root has a higher version.
var ErrDowngrade = errors.New("a higher version is installed")

// InstallDebs installs packages by the root's dpkg, all in one call, which puts
// them in order by itself. Packages that an earlier run has left half
// configured are configured before. Configuration files that were changed on
// the root stay as they are. On return each package is installed and configured
// in its version, or there is an error, and the overlay is to be thrown away.
func InstallDebs(ctx context.Context, o *Overlay, packages []Package, opt PackageOptions) error {
	i := &installer{ctx, o, packages, opt, "dpkg"}
	if err := i.refuseDowngrades(); err != nil {
		return err
	}
	audit, err := i.run(nil, "dpkg", "--audit")
	if err != nil {
		return err
	}
	if audit.Output != "" {
		if err := i.must("configuring what was left", nil, "dpkg", "--configure", "-a", "--force-confdef", "--force-confold"); err != nil {
			return err
		}
	}
	args := []string{"dpkg", "--install", "--force-confdef", "--force-confold", "--force-unsafe-io"}
	if !opt.AllowDowngrade {
		args = append(args, "--refuse-downgrade")
	}
	if err := i.install(args); err != nil {
		return err
	}
	return i.check(i.debVersion)
}

// InstallRPMs installs packages by the root's rpm, all in one call, with the
// same promise as InstallDebs. Signatures of packages are not asked for: what
// the bundle has was checked by its digest.
func InstallRPMs(ctx context.Context, o *Overlay, packages []Package, opt PackageOptions) error {
	i := &installer{ctx, o, packages, opt, "rpm"}
	args := []string{"rpm", "--upgrade", "--nosignature", "--replacepkgs"}
	if opt.AllowDowngrade {
		args = append(args, "--oldpackage")
	}
	if err := i.install(args); err != nil {
		return err
	}
	return i.check(i.rpmVersion)
}

// An installer installs packages.
type installer struct {
	ctx      context.Context
	o        *Overlay
	packages []Package
	opt      PackageOptions
	tool     string
}

// run runs a program of the package manager.
func (i *installer) run(files []File, args ...string) (Result, error) {
	return i.o.Run(i.ctx, Program{Exec: args, Files: files, Timeout: i.opt.Timeout, Line: i.opt.Line})
}

// must runs a program and takes any exit code but 0 for an error.
func (i *installer) must(doing string, files []File, args ...string) error {
	r, err := i.run(files, args...)
	if err != nil {
		return err
	}
	if r.Code != 0 {
		return &PackageError{i.tool, doing, r.Output}
	}
	return nil
}

// install runs the package manager on all packages. Their files get names of
// our own: what a bundle calls them may look like an option.
func (i *installer) install(args []string) error {
	var files []File
	for n, p := range i.packages {
		f := File{Name: strconv.Itoa(n) + "." + map[string]string{"dpkg": "deb", "rpm": "rpm"}[i.tool], Source: p.Path}
		files = append(files, f)
		args = append(args, filesDir+"/"+f.Name)
	}
	return i.must("installing", files, args...)
}

// check makes sure that each package is installed in its version.
func (i *installer) check(version func(Package) (string, error)) error {
	for _, p := range i.packages {
		got, err := version(p)
		if err != nil {
			return err
		}
		if got != p.Version {
			return &PackageError{i.tool, "installing " + p.Name + " " + p.Version, "it has " + either(got, "none") + " afterwards"}
		}
	}
	return nil
}

func either(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// quiet runs a program whose output is an answer and not to be shown.
func (i *installer) quiet(args ...string) (Result, error) {
	return i.o.Run(i.ctx, Program{Exec: args, Timeout: i.opt.Timeout})
}

// debVersion returns the version of a package that is installed and
// configured; empty if none is.
func (i *installer) debVersion(p Package) (string, error) {
	name := p.Name
	if p.Arch != "" && p.Arch != "all" {
		name += ":" + p.Arch
	}
	r, err := i.quiet("dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}\n", "--", name)
	if err != nil || r.Code != 0 {
		return "", err // dpkg does not know it
	}
	for line := range strings.Lines(r.Output) {
		if version, ok := strings.CutPrefix(strings.TrimSpace(line), "installed "); ok {
			return version, nil
		}
	}
	return "", nil
}

// rpmVersion returns the version of a package that is installed: that which
// the bundle wants if it is among several.
func (i *installer) rpmVersion(p Package) (string, error) {
	name := p.Name
	if p.Arch != "" {
		name += "." + p.Arch
	}
	r, err := i.quiet("rpm", "--query", "--queryformat", "%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n", "--", name)
	if err != nil || r.Code != 0 {
		return "", err
	}
	found := ""
	for line := range strings.Lines(r.Output) {
		if found = strings.TrimSpace(line); found == p.Version {
			break
		}
	}
	return found, nil
}

// refuseDowngrades looks for packages that dpkg has installed in a higher
// version: dpkg itself would pass over them and call it success.
func (i *installer) refuseDowngrades() error {
	if i.opt.AllowDowngrade {
		return nil
	}
	for _, p := range i.packages {
		installed, err := i.debVersion(p)
		if err != nil {
			return err
		}
		if installed == "" || installed == p.Version {
			continue
		}
		r, err := i.quiet("dpkg", "--compare-versions", installed, "gt", p.Version)
		if err != nil {
			return err
		}
		if r.Code == 0 {
			return fmt.Errorf("%w: %s %s, and not %s", ErrDowngrade, p.Name, installed, p.Version)
		}
	}
	return nil
}
