package fsmap

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A LUKS header, from "LUKS1 On-Disk Format Specification" 1.2.3, figure 1,
// and "LUKS2 On-Disk Format Specification" 1.1.1, section 2.1. Both versions
// have magic, version and UUID in the same places.
const (
	luksMagic      = "LUKS\xBA\xBE"
	luksHeaderSize = 512
	luksLabel      = 24 // of 48 bytes, in version 2 alone
	luksUUID       = 168
	luksUUIDSize   = 40
)

// readLUKS claims encrypted volumes. What they hold looks random, so all of it
// is captured.
func readLUKS(v *volume) (*Map, error) {
	if v.size < luksHeaderSize {
		return nil, errNotMine
	}
	p, err := v.read(0, luksHeaderSize)
	if err != nil {
		return nil, err
	}
	version := binary.BigEndian.Uint16(p[len(luksMagic):])
	if !strings.HasPrefix(string(p), luksMagic) || version < 1 || version > 2 {
		return nil, errNotMine
	}
	m := &Map{Type: "crypto_LUKS", UUID: cString(p[luksUUID : luksUUID+luksUUIDSize])}
	if version == 2 {
		m.Label = cString(p[luksLabel : luksLabel+48])
	}
	return m, fmt.Errorf("encrypted (LUKS%d)", version)
}
