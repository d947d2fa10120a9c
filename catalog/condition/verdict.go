package condition

import "fmt"

// A Verdict is what a condition says. The zero value is Unknown.
type Verdict int

// The verdicts.
const (
	Unknown Verdict = iota // a probe could not answer
	No
	Yes
)

// String returns yes, no or unknown.
func (v Verdict) String() string {
	switch v {
	case Yes:
		return "yes"
	case No:
		return "no"
	default:
		return "unknown"
	}
}

// Not returns the opposite of v. That of Unknown is Unknown.
func (v Verdict) Not() Verdict {
	switch v {
	case Yes:
		return No
	case No:
		return Yes
	default:
		return Unknown
	}
}

// MarshalText writes a verdict as String does.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (v *Verdict) UnmarshalText(p []byte) error {
	for _, known := range []Verdict{Unknown, No, Yes} {
		if string(p) == known.String() {
			*v = known
			return nil
		}
	}
	return fmt.Errorf("%.40q is no verdict", p)
}

// verdictOf returns Yes or No.
func verdictOf(b bool) Verdict {
	if b {
		return Yes
	}
	return No
}
