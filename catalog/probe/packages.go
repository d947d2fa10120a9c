package probe

import (
	"context"
	"fmt"

	"slipcast/catalog/version"
)

// packages are what the package managers of a root have installed.
type packages struct {
	deb []installed
	rpm []installed
	err error // why one of them could not be read
}

// installed is one installed package.
type installed struct {
	name, arch, version string
}

// of returns the packages of the manager whose versions have that scheme.
func (p *packages) of(scheme string) []installed {
	if scheme == "deb" {
		return p.deb
	}
	return p.rpm
}

// pkg returns the version of a package; of several installed side by side the
// highest one. dpkg is asked first.
func (p *Probes) pkg(ctx context.Context, name string) (any, error) {
	all := p.installed(ctx)
	if all.err != nil {
		return nil, all.err
	}
	found, err := highest("deb", all.deb, name)
	if err != nil || found != "" {
		return found, err
	}
	return highest("rpm", all.rpm, name)
}

// installed reads the databases of dpkg and rpm once.
func (p *Probes) installed(ctx context.Context) *packages {
	if p.packages != nil {
		return p.packages
	}
	var all packages
	if all.deb, all.err = p.debs(); all.err == nil {
		all.rpm, all.err = p.rpms(ctx)
	}
	if ctx.Err() == nil {
		p.packages = &all
	}
	return &all
}

// highest returns the highest version of a package; empty is none. name may end
// in a colon and an architecture.
func highest(scheme string, all []installed, name string) (string, error) {
	var best version.Version
	for _, i := range all {
		if name != i.name && name != i.name+":"+i.arch {
			continue
		}
		v, err := version.Parse(scheme, i.version)
		if err != nil {
			return "", fmt.Errorf("package %s: %w", i.name, err)
		}
		if best.String() == "" {
			best = v
			continue
		}
		if c, err := v.Compare(best); err != nil {
			return "", err
		} else if c > 0 {
			best = v
		}
	}
	return best.String(), nil
}
