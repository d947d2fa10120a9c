package pxe

// String returns the word of docs/boot.md, section 3.
func (v Verdict) String() string {
	switch v {
	case Local:
		return "local"
	case Agent:
		return "agent"
	}
	return "ignore"
}
