package probe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"slipcast/catalog/root"
)

// maxText is how many bytes text gives of a file.
const maxText = 64 << 10

// questions are the probes by their names.
func (p *Probes) questions() map[string]question {
	return map[string]question{
		"family":  {0, func(context.Context, []string) (any, error) { return string(p.root.Family()), nil }},
		"distro":  {0, func(context.Context, []string) (any, error) { return p.distro() }},
		"release": {0, func(context.Context, []string) (any, error) { return p.release() }},
		"arch":    {0, func(context.Context, []string) (any, error) { return p.arch() }},

		"exists": {1, func(_ context.Context, args []string) (any, error) { return p.exists(args[0]) }},
		"size":   {1, func(_ context.Context, args []string) (any, error) { return p.size(args[0]) }},
		"mode":   {1, func(_ context.Context, args []string) (any, error) { return p.mode(args[0]) }},
		"owner":  {1, func(_ context.Context, args []string) (any, error) { return p.owner(args[0]) }},
		"sha256": {1, func(ctx context.Context, args []string) (any, error) { return p.sha256(ctx, args[0]) }},
		"text":   {1, func(_ context.Context, args []string) (any, error) { return p.text(args[0]) }},
		"ini":    {3, func(_ context.Context, args []string) (any, error) { return p.ini(args[0], args[1], args[2]) }},
		"pkg":    {1, func(ctx context.Context, args []string) (any, error) { return p.pkg(ctx, args[0]) }},
		"pe":     {1, func(_ context.Context, args []string) (any, error) { return p.pe(args[0]) }},
		"reg":    {2, func(_ context.Context, args []string) (any, error) { return p.reg(args[0], args[1]) }},

		"dmi":      {1, func(_ context.Context, args []string) (any, error) { return p.dmi(args[0]) }},
		"modalias": {1, func(_ context.Context, args []string) (any, error) { return p.modalias(args[0]) }},
		"memory":   {0, func(context.Context, []string) (any, error) { return p.memory() }},
		"firmware": {0, func(context.Context, []string) (any, error) { return p.firmware() }},
		"machine":  {1, func(_ context.Context, args []string) (any, error) { return p.identity(args[0]) }},
	}
}

func (p *Probes) exists(name string) (any, error) {
	_, found, err := p.stat(name)
	return found, err
}

func (p *Probes) size(name string) (any, error) {
	st, found, err := p.stat(name)
	if !found {
		return int64(-1), err
	}
	return st.Size, nil
}

func (p *Probes) mode(name string) (any, error) {
	st, found, err := p.stat(name)
	if !found {
		return "", err
	}
	return fmt.Sprintf("%04o", st.Mode), nil
}

func (p *Probes) owner(name string) (any, error) {
	st, found, err := p.stat(name)
	if !found {
		return "", err
	}
	return fmt.Sprintf("%d:%d", st.UID, st.GID), nil
}

func (p *Probes) sha256(ctx context.Context, name string) (any, error) {
	f, err := p.open(name)
	if f == nil {
		return "", err
	}
	defer f.Close()
	return digest(ctx, f)
}

// digest returns the SHA-256 of a file in hexadecimal.
func digest(ctx context.Context, f *os.File) (string, error) {
	h := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		switch _, err := io.CopyN(h, f, 4<<20); err {
		case nil:
		case io.EOF:
			return hex.EncodeToString(h.Sum(nil)), nil
		default:
			return "", err
		}
	}
}

func (p *Probes) text(name string) (any, error) {
	f, err := p.open(name)
	if f == nil {
		return "", err
	}
	defer f.Close()
	contents, err := io.ReadAll(io.LimitReader(f, maxText))
	return string(contents), err
}

func (p *Probes) ini(name, section, key string) (any, error) {
	contents, found, err := p.read(name, MaxEdit)
	if !found {
		return "", err
	}
	return iniValue(contents, section, key)
}

// windows tells whether the root is a Windows.
func (p *Probes) windows() bool { return p.root.Family() == root.Windows }
