package bundle

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxYAML is how long bundle.yaml may be, in bytes.
const maxYAML = 4 << 20

// A lineError says what is wrong with a line of bundle.yaml.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("%s:%d: %v", yamlName, e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

// wrong returns a lineError about n.
func wrong(n ast.Node, format string, args ...any) error {
	return &lineError{lineOf(n), fmt.Errorf(format, args...)}
}

// lineOf returns the line that n begins in.
func lineOf(n ast.Node) int {
	if n != nil {
		if t := n.GetToken(); t != nil && t.Position != nil {
			return t.Position.Line
		}
	}
	return 1
}

// parseYAML returns the one document in text.
func parseYAML(text []byte) (ast.Node, error) {
	if len(text) > maxYAML {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", yamlName, len(text), maxYAML)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		var told yaml.Error
		if errors.As(err, &told) && told.GetToken() != nil {
			return nil, &lineError{told.GetToken().Position.Line, errors.New(told.GetMessage())}
		}
		first, _, _ := strings.Cut(err.Error(), "\n")
		return nil, fmt.Errorf("%s: %s", yamlName, first)
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil && doc.Body.Type() != ast.CommentType {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) != 1 {
		return nil, fmt.Errorf("%s: %d documents, want one", yamlName, len(bodies))
	}
	return bodies[0], nil
}

// A yamlReader turns the nodes of bundle.yaml into values, and notes which line
// each part of the manifest comes from.
type yamlReader struct {
	lines map[string]int // part of the manifest, as faults name it → line
}

// A use takes the value of a key. where is the part of the manifest that it is.
type use func(n ast.Node, where string) error

// keys are what a mapping may have.
type keys map[string]use

// mapping gives the values of n to the keys that use them.
func (y *yamlReader) mapping(n ast.Node, where string, known keys) error {
	pairs, err := pairsOf(n)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		key := pair.Key.String()
		take := known[key]
		switch {
		case take == nil:
			return wrong(pair.Key, "unknown key %q, want %s", key, orList(slices.Sorted(maps.Keys(known))))
		case seen[key]:
			return wrong(pair.Key, "key %q twice", key)
		}
		seen[key] = true
		if err := y.under(pair.Key, pair.Value, join(where, key), take); err != nil {
			return err
		}
	}
	return nil
}

// under notes the line of a key and has its value used.
func (y *yamlReader) under(key, value ast.Node, where string, take use) error {
	y.lines[where] = lineOf(key)
	return take(value, where)
}

// named gives the values of a mapping whose keys are names of the author's.
func (y *yamlReader) named(n ast.Node, where string, take func(name string, n ast.Node, where string) error) error {
	pairs, err := pairsOf(n)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		name, err := textOf(pair.Key)
		if err != nil {
			return err
		}
		if seen[name] {
			return wrong(pair.Key, "key %q twice", name)
		}
		seen[name] = true
		err = y.under(pair.Key, pair.Value, join(where, name), func(n ast.Node, where string) error { return take(name, n, where) })
		if err != nil {
			return err
		}
	}
	return nil
}

// join returns where a key lies.
func join(where, key string) string {
	if where == "" {
		return key
	}
	return where + "." + key
}

// pairsOf returns the keys and values of a mapping.
func pairsOf(n ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, wrong(n, "%s, want lines like key: value", kindOf(n))
}

// list gives the elements of n to take.
func (y *yamlReader) list(n ast.Node, where string, take use) error {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		return wrong(n, "%s, want a list", kindOf(n))
	}
	for i, v := range s.Values {
		where := fmt.Sprintf("%s[%d]", where, i)
		y.lines[where] = lineOf(v)
		if err := take(v, where); err != nil {
			return err
		}
	}
	return nil
}

// kindOf says what n is.
func kindOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.IntegerNode, *ast.FloatNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or a reference to one"
	}
	return "something else"
}

// textOf returns the text of n. A number is text as it stands there, so that a version
// need not be put in quotes.
func textOf(n ast.Node) (string, error) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return strings.TrimSuffix(n.Value.Value, "\n"), nil
	case *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, nil
	}
	return "", wrong(n, "%s, want text (in quotes, if need be)", kindOf(n))
}

// text sets dst, a string or something like it.
func text[T ~string](dst *T) use {
	return func(n ast.Node, _ string) error {
		s, err := textOf(n)
		*dst = T(s)
		return err
	}
}

// oneOf sets dst to one of the known words.
func oneOf[T ~string](dst *T, known ...T) use {
	return func(n ast.Node, where string) error {
		if err := text(dst)(n, where); err != nil {
			return err
		}
		if !slices.Contains(known, *dst) {
			return wrong(n, "%q, want %s", string(*dst), orList(known))
		}
		return nil
	}
}

// texts sets dst to the texts of a list; a text alone is a list of one.
func (y *yamlReader) texts(dst *[]string) use {
	return func(n ast.Node, where string) error {
		if s, err := textOf(n); err == nil {
			*dst = []string{s}
			return nil
		}
		return y.list(n, where, func(n ast.Node, _ string) error {
			s, err := textOf(n)
			*dst = append(*dst, s)
			return err
		})
	}
}

// integer sets dst to a whole number.
func integer(dst *int, least, most int) use {
	return func(n ast.Node, _ string) error {
		if _, ok := n.(*ast.IntegerNode); !ok {
			return wrong(n, "%s, want a whole number", kindOf(n))
		}
		v, err := strconv.Atoi(n.GetToken().Value)
		if err != nil || v < least || v > most {
			return wrong(n, "%s, want a whole number from %d to %d", n.GetToken().Value, least, most)
		}
		*dst = v
		return nil
	}
}

// integers sets dst to the numbers of a list.
func (y *yamlReader) integers(dst *[]int, least, most int) use {
	return func(n ast.Node, where string) error {
		return y.list(n, where, func(n ast.Node, where string) error {
			var v int
			err := integer(&v, least, most)(n, where)
			*dst = append(*dst, v)
			return err
		})
	}
}

// boolean sets dst.
func boolean(dst *bool) use {
	return func(n ast.Node, _ string) error {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			return wrong(n, "%s, want true or false", kindOf(n))
		}
		*dst = b.Value
		return nil
	}
}

// octal sets dst to permission bits.
func octal(dst *uint32) use {
	return func(n ast.Node, _ string) error {
		s, err := textOf(n)
		if err != nil {
			return err
		}
		v, err := strconv.ParseUint(s, 8, 32)
		if err != nil || v > modeAll {
			return wrong(n, "mode %q, want octal digits, 0 to 7777", s)
		}
		*dst = uint32(v)
		return nil
	}
}

var sizePattern = regexp.MustCompile(`^([0-9]{1,18}(?:\.[0-9]{1,6})?) ?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)?$`)

// units are what sizes may be given in, in bytes.
func units() map[string]int64 {
	return map[string]int64{
		"": 1, "B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}
}

// bytes sets dst to a size.
func bytesIn(dst *int64) use {
	return func(n ast.Node, _ string) error {
		s, err := textOf(n)
		if err != nil {
			return err
		}
		if v, ok := parseSize(s); ok {
			*dst = v
			return nil
		}
		return wrong(n, "size %q, want one like 210MiB or 1.5 GB", s)
	}
}

// parseSize reads a size and rounds it up to whole bytes.
func parseSize(s string) (int64, bool) {
	m := sizePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	v, _ := new(big.Rat).SetString(m[1])
	v.Mul(v, new(big.Rat).SetInt64(units()[m[2]]))
	v.Add(v, big.NewRat(999_999, 1_000_000)) // six digits behind the point at most
	n := new(big.Int).Quo(v.Num(), v.Denom())
	return n.Int64(), n.IsInt64()
}

// seconds sets dst to a duration of whole seconds.
func seconds(dst *int, most int) use {
	return func(n ast.Node, _ string) error {
		s, err := textOf(n)
		if err != nil {
			return err
		}
		d, err := time.ParseDuration(s)
		if err != nil || d < time.Second || d > time.Duration(most)*time.Second || d%time.Second != 0 {
			return wrong(n, "time %q, want one like 60s or 10m, from 1s to %v", s, time.Duration(most)*time.Second)
		}
		*dst = int(d / time.Second)
		return nil
	}
}
