package bootenv

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrRefused reports a program that shim would not start, or that GRUB would
// not, on a machine whose firmware enforces Secure Boot.
var ErrRefused = errors.New("refused under Secure Boot")

// A Shim is the first loader of a Secure Boot chain: firmware trusts it for the
// signature of Microsoft, and it trusts what its distribution has signed.
type Shim struct {
	Trusted []*x509.Certificate // whose signatures it accepts, "Debian Secure Boot CA"
	Level   []Component         // the least generations that it accepts; empty in a shim older than 15.7

	revoked      map[[32]byte]bool   // SHA-256 of programs that it refuses
	revokedCerts []*x509.Certificate // whose signatures it refuses
}

// ReadShim reads what a shim trusts from its sections .vendor_cert and
// .sbatlevel. The layout of the first is that of cert.S, that of the second
// that of sbat_var.S in https://github.com/rhboot/shim. An error wraps
// [ErrNotProgram] where the program is not a shim.
func ReadShim(p *Program) (*Shim, error) {
	trusted, revoked, err := vendorTables(p.Section(".vendor_cert"))
	if err != nil {
		return nil, err
	}
	s := &Shim{revoked: map[[32]byte]bool{}}
	if bytes.HasPrefix(trusted, []byte{0x30, 0x82}) { // one certificate in DER
		cert, err := x509.ParseCertificate(trusted)
		if err != nil {
			return nil, fmt.Errorf("%w: vendor certificate: %w", ErrNotProgram, err)
		}
		s.Trusted = []*x509.Certificate{cert}
	} else if s.Trusted, err = s.readList(trusted, nil); err != nil {
		return nil, err
	}
	if s.revokedCerts, err = s.readList(revoked, s.revoked); err != nil {
		return nil, err
	}
	s.Level, err = sbatLevel(p.Section(".sbatlevel"))
	return s, err
}

// vendorTables returns what a shim trusts, and what it refuses: the section
// starts with both sizes and then both offsets.
func vendorTables(section []byte) (trusted, revoked []byte, err error) {
	if len(section) < 16 {
		return nil, nil, fmt.Errorf("%w: no vendor certificate, so it is no shim", ErrNotProgram)
	}
	part := func(number int) []byte {
		size := int64(binary.LittleEndian.Uint32(section[4*number:]))
		offset := int64(binary.LittleEndian.Uint32(section[8+4*number:]))
		if offset+size > int64(len(section)) {
			err = fmt.Errorf("%w: vendor certificate of %d bytes at %d", ErrNotProgram, size, offset)
			return nil
		}
		return section[offset : offset+size]
	}
	return part(0), part(1), err
}

// The types of entries of a signature list, UEFI 2.10, section 32.4.1, as they
// stand in memory.
const (
	guidSHA256 = "\x26\x16\xc4\xc1\x4c\x50\x92\x40\xac\xa9\x41\xf9\x36\x93\x43\x28"
	guidX509   = "\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72"
)

// readList reads EFI signature lists, UEFI 2.10, section 32.4.1. It returns the
// certificates and puts the SHA-256 digests into digests, which may be nil.
func (s *Shim) readList(p []byte, digests map[[32]byte]bool) ([]*x509.Certificate, error) {
	const header, owner = 28, 16
	var certs []*x509.Certificate
	for len(p) >= header {
		size := int64(binary.LittleEndian.Uint32(p[16:]))
		skip := int64(binary.LittleEndian.Uint32(p[20:]))
		each := int64(binary.LittleEndian.Uint32(p[24:]))
		if size > int64(len(p)) || each <= owner || header+skip > size {
			return nil, fmt.Errorf("%w: signature list of %d bytes", ErrNotProgram, size)
		}
		entries := p[header+skip : size]
		for ; int64(len(entries)) >= each; entries = entries[each:] {
			entry := entries[owner:each]
			switch kind := string(p[:16]); {
			case kind == guidSHA256 && len(entry) == 32 && digests != nil:
				digests[[32]byte(entry)] = true
			case kind == guidX509:
				cert, err := x509.ParseCertificate(entry)
				if err != nil {
					return nil, fmt.Errorf("%w: signature list: %w", ErrNotProgram, err)
				}
				certs = append(certs, cert)
			}
		}
		p = p[size:]
	}
	return certs, nil
}

// Check tells whether the shim would start next: one of its signatures must be
// trusted and hold, and it must not be revoked. A program without an .sbat
// section passes, as a kernel does that GRUB asks the shim about. Errors wrap
// [ErrRefused], and [ErrUnsigned] or [ErrSignature] where that is why.
func (s *Shim) Check(next *Program) error {
	signatures, err := next.Signatures()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if s.revoked[[32]byte(next.Digest(crypto.SHA256))] {
		return fmt.Errorf("%w: the shim lists it as revoked", ErrRefused)
	}
	for _, signature := range signatures {
		if anyChain(signature, s.revokedCerts) {
			return fmt.Errorf("%w: the shim lists the key of %s as revoked", ErrRefused, signature.Signer)
		}
	}
	for _, signature := range signatures {
		if anyChain(signature, s.Trusted) {
			return s.checkLevel(next)
		}
	}
	return fmt.Errorf("%w: it is signed by %s, which the shim does not trust", ErrRefused, signatures[0].Signer)
}

// anyChain tells whether a signature chains to one of the certificates.
func anyChain(s Signature, cas []*x509.Certificate) bool {
	for _, ca := range cas {
		if s.ChainsTo(ca) {
			return true
		}
	}
	return false
}

// checkLevel compares the generations of a program with those that the shim
// wants at least.
func (s *Shim) checkLevel(next *Program) error {
	text := next.Section(".sbat")
	if text == nil {
		return nil
	}
	components, err := ParseSBAT(text)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	for _, least := range s.Level {
		for _, c := range components {
			if c.Name == least.Name && c.Generation < least.Generation {
				return fmt.Errorf("%w: %s is of SBAT generation %d, the shim wants %d", ErrRefused, c.Name, c.Generation, least.Generation)
			}
		}
	}
	return nil
}
