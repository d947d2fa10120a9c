package bootenv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrNotKernel reports a file that is no Linux kernel for x86 or arm64.
var ErrNotKernel = errors.New("not a Linux kernel")

// maxBanner is how much of a kernel's version text is looked at.
const maxBanner = 512

// KernelVersion returns the version of a Linux kernel from its file, as uname
// -r tells it and as the folder of its modules is named:
// "6.12.107+deb13-amd64". It knows the bzImage of x86 and the uncompressed
// Image of arm64. The error wraps [ErrNotKernel].
func KernelVersion(kernel []byte) (string, error) {
	var banner []byte
	switch {
	case len(kernel) > 0x210 && string(kernel[0x202:0x206]) == "HdrS":
		banner = bzImageBanner(kernel)
	case len(kernel) > 64 && string(kernel[56:60]) == "ARM\x64":
		banner = imageBanner(kernel)
	default:
		return "", ErrNotKernel
	}
	version, _, _ := strings.Cut(cString(banner[:min(len(banner), maxBanner)]), " ")
	if !isVersion(version) {
		return "", fmt.Errorf("%w: version %.60q", ErrNotKernel, version)
	}
	return version, nil
}

// isVersion tells whether s can be the version of a kernel, and so the name of
// a folder.
func isVersion(s string) bool {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return false
	}
	for _, c := range s {
		if c <= ' ' || c > '~' || c == '/' {
			return false
		}
	}
	return true
}

// bzImageBanner returns the version text of a kernel for x86: the field
// kernel_version at 0x20e says where it is, counted from 0x200, see
// Documentation/arch/x86/boot.rst of the kernel.
func bzImageBanner(kernel []byte) []byte {
	at := int(binary.LittleEndian.Uint16(kernel[0x20e:]))
	if at == 0 || at+0x200 > len(kernel) {
		return nil
	}
	return kernel[at+0x200:]
}

// imageBanner returns the version text of a kernel for arm64. Its header
// (Documentation/arch/arm64/booting.rst) has none, so the text that the kernel
// prints first is looked for.
func imageBanner(kernel []byte) []byte {
	text := []byte("Linux version ")
	for {
		i := bytes.Index(kernel, text)
		if i < 0 {
			return nil
		}
		kernel = kernel[i+len(text):]
		if len(kernel) > 0 && kernel[0] >= '0' && kernel[0] <= '9' {
			return kernel
		}
	}
}
