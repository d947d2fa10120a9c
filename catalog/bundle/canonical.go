package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds of a manifest, section 5.
const (
	maxManifest = 64 << 20  // bytes
	maxHeader   = 1 << 20   // bytes of a Header alone
	maxObjects  = 1_000_000 // {} in it: 200,000 entries, as many files, attributes
	maxValues   = 5_000_000 // commas and brackets in it
)

// Encode returns the canonical JSON of m, section 4, which is what is digested.
// The error says which rule of section 5 m breaks.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	p, err := canonical(m)
	if err == nil && len(p) > maxManifest {
		err = fmt.Errorf("manifest of %d bytes, at most %d are allowed", len(p), maxManifest)
	}
	return p, err
}

// DecodeManifest reads a manifest. One that is not canonical, breaks a rule of
// section 5 or is longer than 64 MiB is refused by an error that wraps
// [ErrDamaged]. It takes less than 1 GiB of memory whatever p holds.
func DecodeManifest(p []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := decode(p, maxManifest, m); err != nil {
		return nil, damaged("manifest: %w", err)
	}
	again, err := canonical(m)
	if err != nil {
		return nil, damaged("manifest: %w", err)
	}
	if !bytes.Equal(p, again) {
		return nil, damaged("manifest: not canonical JSON from byte %d on", common(p, again))
	}
	if err := m.check(); err != nil {
		return nil, damaged("manifest: %w", err)
	}
	return m, nil
}

// Encode returns the canonical JSON of h, without a newline at its end. The
// error says which rule of section 5 h breaks.
func (h *Header) Encode() ([]byte, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	p, err := canonical(h)
	return bytes.TrimSuffix(p, []byte("\n")), err
}

// DecodeHeader reads the header of a bundle as the catalog has it: its keys may
// stand in any order. An unknown key, a key twice and a header that breaks a
// rule of section 5 are refused by an error that wraps [ErrDamaged].
func DecodeHeader(p []byte) (*Header, error) {
	h := new(Header)
	if err := decode(p, maxHeader, h); err != nil {
		return nil, damaged("header: %w", err)
	}
	if err := h.check(); err != nil {
		return nil, damaged("header: %w", err)
	}
	return h, nil
}

// canonical returns the canonical JSON of v with a newline at its end.
func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// decode reads the JSON in p, at most limit bytes, into v. It refuses keys that
// v does not have, keys that are there twice, and what comes after.
func decode(p []byte, limit int, v any) error {
	if len(p) > limit {
		return fmt.Errorf("%d bytes, at most %d are allowed", len(p), limit)
	}
	if err := countValues(p); err != nil {
		return err
	}
	if err := checkKeys(p); err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(p))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return plainJSON(err)
	}
	return nil
}

// plainJSON makes a sentence of ours of what encoding/json says.
func plainJSON(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		return fmt.Errorf("%s: %s, want %v", wrong.Field, wrong.Value, wrong.Type)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errors.New("ends early")
	}
	return err
}

// countValues refuses JSON of more values than any manifest has, before memory
// is taken for them.
func countValues(p []byte) error {
	objects, values := 0, 0
	text := false
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{':
			objects++
			values++
		case c == '[' || c == ',':
			values++
		}
	}
	if objects > maxObjects || values > maxValues {
		return fmt.Errorf("%d objects and %d values, at most %d and %d are allowed", objects, values, maxObjects, maxValues)
	}
	return nil
}

// checkKeys refuses JSON that has a key twice in one object, and anything but
// one value.
func checkKeys(p []byte) error {
	k := keyChecker{json.NewDecoder(bytes.NewReader(p))}
	if err := k.value(0); err != nil {
		return plainJSON(err)
	}
	if _, err := k.d.Token(); err != io.EOF {
		return fmt.Errorf("something follows at byte %d", k.d.InputOffset())
	}
	return nil
}

// deepest is how many objects and lists may stand in one another. A manifest
// needs 8.
const deepest = 16

// A keyChecker walks through JSON.
type keyChecker struct{ d *json.Decoder }

// value walks through one value.
func (k keyChecker) value(depth int) error {
	t, err := k.d.Token()
	if err != nil {
		return err
	}
	delim, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	if depth == deepest {
		return fmt.Errorf("more than %d objects and lists in one another", deepest)
	}
	if delim == '{' {
		err = k.object(depth)
	} else {
		err = k.list(depth)
	}
	if err != nil {
		return err
	}
	_, err = k.d.Token() // the end
	return err
}

func (k keyChecker) list(depth int) error {
	for k.d.More() {
		if err := k.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

func (k keyChecker) object(depth int) error {
	var seen []string // a handful
	for k.d.More() {
		t, err := k.d.Token()
		if err != nil {
			return err
		}
		key, _ := t.(string)
		if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" { // encoding/json takes NAME for name
			return fmt.Errorf("unknown key %q", key)
		}
		if slices.Contains(seen, key) {
			return fmt.Errorf("key %q twice at byte %d", key, k.d.InputOffset())
		}
		if seen = append(seen, key); len(seen) > mostKeys {
			return fmt.Errorf("more than %d keys in one object", mostKeys)
		}
		if err := k.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// mostKeys is how many keys one object may have. A manifest has 27.
const mostKeys = 64

// common returns how many bytes a and b begin with alike.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
