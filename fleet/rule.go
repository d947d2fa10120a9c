package fleet

import (
	"fmt"
	"math/big"
	"strings"

	"slipcast/agent/wire"
)

// ParseRule reads a rule for a disk as people write it: "serial=S4EWNX0R",
// "min=200G,transport=nvme". The empty text is the only internal disk. Sizes
// take K, M, G and T (powers of 1000, as on the label of a disk) and KiB to
// TiB. Any error wraps [ErrMalformed].
func ParseRule(text string) (wire.Rule, error) {
	var r wire.Rule
	if text == "" {
		return r, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(part, "=")
		if value = strings.TrimSpace(value); !ok || value == "" {
			return wire.Rule{}, fmt.Errorf("%w: %q in a disk rule is not KEY=VALUE", ErrMalformed, part)
		}
		if err := setRule(&r, strings.TrimSpace(key), value); err != nil {
			return wire.Rule{}, err
		}
	}
	return r, CheckRule(r)
}

// ruleTexts returns the parts of a rule that are texts, by their names.
func ruleTexts(r *wire.Rule) map[string]*string {
	return map[string]*string{"serial": &r.Serial, "wwn": &r.WWN, "path": &r.Path, "model": &r.Model, "transport": &r.Transport}
}

func setRule(r *wire.Rule, key, value string) (err error) {
	if place, ok := ruleTexts(r)[key]; ok {
		if *place != "" {
			return fmt.Errorf("%w: %s stands twice in a disk rule", ErrMalformed, key)
		}
		*place = value
		return nil
	}
	switch key {
	case "min":
		r.Min, err = ParseSize(value)
	case "max":
		r.Max, err = ParseSize(value)
	default:
		err = fmt.Errorf("%w: a disk rule has serial, wwn, path, model, transport, min and max, not %q", ErrMalformed, key)
	}
	return err
}

// CheckRule refuses a rule that nothing can fit, or that names a disk by what
// changes from boot to boot.
func CheckRule(r wire.Rule) error {
	for key, text := range ruleTexts(&r) {
		if *text != wire.Plain(*text, wire.MaxField) || strings.ContainsAny(*text, ",=") {
			return fmt.Errorf("%w: %s %q in a disk rule", ErrMalformed, key, wire.Plain(*text, wire.MaxField))
		}
	}
	switch {
	case r.Min < 0 || r.Max < 0 || r.Max > 0 && r.Max < r.Min:
		return fmt.Errorf("%w: no disk has between %d and %d bytes", ErrMalformed, r.Min, r.Max)
	case strings.HasPrefix(r.Path, "/dev/") && !strings.HasPrefix(r.Path, "/dev/disk/by-path/"):
		return fmt.Errorf("%w: %s may be another disk after the next boot; path is a name in /dev/disk/by-path", ErrMalformed, r.Path)
	}
	return nil
}

// FormatRule returns a rule as [ParseRule] reads it.
func FormatRule(r wire.Rule) string {
	var parts []string
	texts := ruleTexts(&r)
	for _, key := range []string{"serial", "wwn", "path", "model", "transport"} {
		if *texts[key] != "" {
			parts = append(parts, key+"="+*texts[key])
		}
	}
	for _, bound := range []struct {
		key   string
		bytes int64
	}{{"min", r.Min}, {"max", r.Max}} {
		if bound.bytes != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", bound.key, bound.bytes))
		}
	}
	return strings.Join(parts, ",")
}

var units = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"K", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12}, {"", 1},
}

// ParseSize reads a number of bytes above zero, like 500G or 465.8GiB.
func ParseSize(text string) (int64, error) {
	wrong := fmt.Errorf("%w: %q is no size, like 500G or 465GiB", ErrMalformed, wire.Plain(text, 40))
	for _, unit := range units {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		if len(number) > 20 || strings.Trim(number, "0123456789.") != "" {
			return 0, wrong
		}
		r, ok := new(big.Rat).SetString(number)
		if !ok {
			return 0, wrong
		}
		r.Mul(r, new(big.Rat).SetInt64(unit.bytes))
		bytes := new(big.Int).Quo(r.Num(), r.Denom())
		if bytes.Sign() <= 0 || bytes.Cmp(big.NewInt(maxSize)) > 0 {
			return 0, wrong
		}
		return bytes.Int64(), nil
	}
	return 0, wrong
}
