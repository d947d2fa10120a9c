package probe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxRelease is how many bytes os-release may have.
const maxRelease = 64 << 10

// distro returns ID of os-release(5), or windows.
func (p *Probes) distro() (any, error) {
	if p.windows() {
		return "windows", nil
	}
	return p.osRelease("ID")
}

// release returns VERSION_ID of os-release(5), or the build of a Windows.
func (p *Probes) release() (any, error) {
	if p.windows() {
		return p.windowsBuild()
	}
	return p.osRelease("VERSION_ID")
}

// osRelease returns a field of etc/os-release or, if there is none, of
// usr/lib/os-release.
func (p *Probes) osRelease(key string) (string, error) {
	for _, name := range []string{"etc/os-release", "usr/lib/os-release"} {
		contents, found, err := p.read(name, maxRelease)
		if err != nil {
			return "", err
		}
		if found {
			return parseRelease(contents)[key], nil
		}
	}
	return "", nil
}

// parseRelease reads assignments of the shell: os-release(5). The last of
// several wins; what is no assignment is passed over, as the shell's users do.
func parseRelease(contents []byte) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(string(contents)) {
		line = blank(line)
		key, value, ok := strings.Cut(line, "=")
		if ok && !strings.HasPrefix(line, "#") {
			fields[key] = unquote(value)
		}
	}
	return fields
}

// unquote takes the quotes of a shell from one word. Within single quotes a
// backslash is one; within double quotes it makes the next of $ ` " \ plain.
func unquote(s string) string {
	var out strings.Builder
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == quote && quote != 0:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == '\\' && i+1 < len(s) && (quote == 0 || quote == '"' && strings.IndexByte("$`\"\\", s[i+1]) >= 0):
			i++
			out.WriteByte(s[i])
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// windowsBuild returns what a Windows calls itself: 10.0.19045.
func (p *Probes) windowsBuild() (string, error) {
	const key = `HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`
	var values []string
	for _, name := range []string{"CurrentMajorVersionNumber", "CurrentMinorVersionNumber", "CurrentVersion", "CurrentBuild"} {
		value, err := p.regText(key, name)
		if err != nil {
			return "", err
		}
		values = append(values, value)
	}
	major, minor, old, build := values[0], values[1], values[2], values[3]
	switch {
	case build == "":
		return "", errors.New("the registry does not tell the build of this Windows")
	case major != "" && minor != "":
		return major + "." + minor + "." + build, nil
	default: // before Windows 10 there was CurrentVersion alone
		return old + "." + build, nil
	}
}

// arch returns what programs of the root run on, by the header of the first of
// these that is there.
func (p *Probes) arch() (any, error) {
	names := []string{"sbin/init", "usr/lib/systemd/systemd", "bin/sh", "usr/bin/env", "bin/busybox"}
	if p.windows() {
		names = []string{"Windows/System32/ntoskrnl.exe"}
	}
	for _, name := range names {
		f, err := p.open(name)
		if err != nil {
			return nil, err
		}
		if f == nil {
			continue
		}
		defer f.Close()
		arch, err := archOf(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if arch != "" {
			return arch, nil
		}
	}
	return nil, errors.New("no program is there that tells the architecture")
}

// archOf reads the machine of an ELF or PE file. A script has none.
func archOf(f *os.File) (string, error) {
	var head [64]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	switch {
	case n >= 2 && string(head[:2]) == "#!":
		return "", nil
	case n >= 20 && string(head[:4]) == "\x7fELF" && head[5] == 1: // little-endian
		return elfArch(binary.LittleEndian.Uint16(head[18:]))
	case n == len(head) && string(head[:2]) == "MZ":
		var coff [6]byte
		if _, err := f.ReadAt(coff[:], int64(binary.LittleEndian.Uint32(head[60:]))); err != nil {
			return "", err
		}
		if string(coff[:4]) == "PE\x00\x00" {
			return peArch(binary.LittleEndian.Uint16(coff[4:]))
		}
	}
	return "", errors.New("is no program")
}

// elfArch names e_machine of an ELF header (elf.h).
func elfArch(machine uint16) (string, error) {
	switch machine {
	case 62: // EM_X86_64
		return "x64", nil
	case 183: // EM_AARCH64
		return "arm64", nil
	}
	return "", fmt.Errorf("is for ELF machine %d, neither x64 nor arm64", machine)
}

// peArch names Machine of a COFF header (Microsoft's PE format).
func peArch(machine uint16) (string, error) {
	switch machine {
	case 0x8664:
		return "x64", nil
	case 0xaa64:
		return "arm64", nil
	}
	return "", fmt.Errorf("is for PE machine %#x, neither x64 nor arm64", machine)
}
