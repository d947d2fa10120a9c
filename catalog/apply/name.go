package apply

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"unicode/utf8"
)

// A Name is a path or the text of a link. File systems take any bytes in them,
// JSON takes UTF-8 alone: others are written as {"base64":"..."}.
type Name string

type rawName struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON writes n as a text, or as base64 if it is none.
func (n Name) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(n)) {
		return canonical(string(n))
	}
	return json.Marshal(rawName{Base64: []byte(n)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Name) UnmarshalJSON(p []byte) error {
	if len(p) > 0 && p[0] == '"' {
		return json.Unmarshal(p, (*string)(n))
	}
	var raw rawName
	if err := json.Unmarshal(p, &raw); err != nil {
		return err
	}
	if utf8.Valid(raw.Base64) {
		return errors.New("a text in base64")
	}
	*n = Name(raw.Base64)
	return nil
}

// String returns the name with its bytes as they are, except for base64 in
// place of what could confuse a terminal.
func (n Name) String() string {
	if utf8.ValidString(string(n)) {
		return string(n)
	}
	return base64.StdEncoding.EncodeToString([]byte(n))
}

// canonical returns the one way in which v is written as JSON, without the
// newline at its end.
func canonical(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// decode reads into v what canonical wrote, with a newline at its end. Since
// there is one way to write a thing, whatever is written in another one (a key
// that is not known, a key twice, a number with a point) is refused.
func decode(p []byte, v any) error {
	if err := json.Unmarshal(p, v); err != nil {
		return damaged("%v", err)
	}
	again, err := canonical(v)
	if err != nil {
		return damaged("%v", err)
	}
	if !bytes.Equal(append(again, '\n'), p) {
		return damaged("not canonical JSON")
	}
	return nil
}
