package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// What those who may sign can sign, and a reader refuses or, where TUF says so,
// takes.
func TestForged(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	addTarget := func(name string, target metadata.TargetFiles, custom string) func(f *forgery) {
		return func(f *forgery) {
			raw := json.RawMessage(custom)
			target.Custom = &raw
			f.targets.Signed.Targets[name] = &target
		}
	}
	sum := metadata.HexBytes(bytes.Repeat([]byte{1}, 32))
	good := metadata.TargetFiles{Length: 1, Hashes: metadata.Hashes{"sha256": sum}}
	const image = `{"kind":"image"}`
	for name, tt := range map[string]struct {
		change func(f *forgery)
		want   error
	}{
		"nothing": {func(*forgery) {}, nil},
		"unknown fields that are signed": {func(f *forgery) {
			f.root.Signed.UnrecognizedFields = map[string]any{"x": "y"}
			f.targets.Signed.UnrecognizedFields = map[string]any{"x": "y"}
			f.snapshot.Signed.UnrecognizedFields = map[string]any{"x": "y"}
			f.timestamp.Signed.UnrecognizedFields = map[string]any{"x": "y"}
		}, nil},
		"an unknown field that is not signed": {func(f *forgery) { f.timestamp.UnrecognizedFields = map[string]any{"x": "y"} }, ErrMalformed},
		"version 2 of the specification":      {func(f *forgery) { f.timestamp.Signed.SpecVersion = "2.0.0" }, ErrMalformed},
		"version 2 of it for targets":         {func(f *forgery) { f.targets.Signed.SpecVersion = "2.0.0" }, ErrMalformed},
		"timestamp version 0":                 {func(f *forgery) { f.timestamp.Signed.Version = 0 }, ErrMalformed},
		"timestamp version 2^31":              {func(f *forgery) { f.timestamp.Signed.Version = 1 << 31 }, ErrMalformed},
		"snapshot version 2^31":               {func(f *forgery) { f.snapshot.Signed.Version = 1 << 31 }, ErrMalformed},
		"no hash of the snapshot":             {func(f *forgery) { f.snapshotMeta = func(m *metadata.MetaFiles) { m.Hashes = nil } }, ErrMalformed},
		"no length of the snapshot":           {func(f *forgery) { f.snapshotMeta = func(m *metadata.MetaFiles) { m.Length = 0 } }, ErrMalformed},
		"no hash of the targets":              {func(f *forgery) { f.targetsMeta = func(m *metadata.MetaFiles) { m.Hashes = nil } }, ErrMalformed},
		"targets too long":                    {func(f *forgery) { f.targetsMeta = func(m *metadata.MetaFiles) { m.Length = maxTargets + 1 } }, ErrMalformed},
		"targets longer than said":            {func(f *forgery) { f.targetsMeta = func(m *metadata.MetaFiles) { m.Length-- } }, ErrMalformed},
		"targets shorter than said":           {func(f *forgery) { f.targetsMeta = func(m *metadata.MetaFiles) { m.Length++ } }, ErrMismatch},
		"another hash as well": {func(f *forgery) {
			f.targetsMeta = func(m *metadata.MetaFiles) { m.Hashes["sha512"] = sum }
		}, ErrMalformed},
		"the wrong version of the targets": {func(f *forgery) { f.targetsMeta = func(m *metadata.MetaFiles) { m.Version = 1 } }, nil},
		"a delegation":                     {func(f *forgery) { f.targets.Signed.Delegations = &metadata.Delegations{} }, ErrMalformed},
		"a target called otherwise":        {addTarget("room@2", good, image), ErrMalformed},
		"a target with a path":             {addTarget("images/../x@2", good, image), ErrMalformed},
		"a target of another kind":         {addTarget("images/x@2", good, `{"kind":"song"}`), ErrMalformed},
		"an unknown field in custom":       {addTarget("images/x@2", good, `{"kind":"image","x":1}`), ErrMalformed},
		"no reason of a recall":            {addTarget("images/x@2", good, `{"kind":"image","recalled":{"reason":""}}`), ErrMalformed},
		"a parent that is none":            {addTarget("images/x@2", good, `{"kind":"image","parent":"abc"}`), ErrMalformed},
		"a baked bundle that is none":      {addTarget("images/x@2", good, `{"kind":"image","bundles":["abc"]}`), ErrMalformed},
		"an image with a header":           {addTarget("images/x@2", good, `{"kind":"image","header":{}}`), ErrMalformed},
		"a bundle without a header":        {addTarget("bundles/x@2-1", good, `{"kind":"bundle"}`), ErrMalformed},
		"an image that is good":            {addTarget("images/x@2", good, image), nil},
		"a target without a digest":        {addTarget("images/x@2", metadata.TargetFiles{Length: 1, Hashes: metadata.Hashes{"sha256": sum[:4]}}, image), ErrMalformed},
		"a target without bytes":           {addTarget("images/x@2", metadata.TargetFiles{Hashes: good.Hashes}, image), ErrMalformed},
		"a bundle under another name": {func(f *forgery) {
			b := BundleTarget{Header: testHeader("reader", "9.3"), Digest: testDigest("r"), File: File{testDigest("f"), 1}}
			f.targets.Signed.Targets["bundles/writer@9.3-1"], _ = b.target()
		}, ErrMalformed},
		"a third role":           {func(f *forgery) { f.root.Signed.Roles["mirrors"] = f.root.Signed.Roles["root"] }, ErrMalformed},
		"no consistent snapshot": {func(f *forgery) { f.root.Signed.ConsistentSnapshot = false }, ErrMalformed},
		"threshold 0":            {func(f *forgery) { f.root.Signed.Roles["timestamp"].Threshold = 0 }, ErrMalformed},
		"threshold 2 of 1":       {func(f *forgery) { f.root.Signed.Roles["timestamp"].Threshold = 2 }, ErrMalformed},
		"a key twice": {func(f *forgery) {
			r := f.root.Signed.Roles["timestamp"]
			r.KeyIDs, r.Threshold = append(r.KeyIDs, r.KeyIDs...), 2
		}, ErrMalformed},
		"a key under another name": {func(f *forgery) {
			f.root.Signed.Keys["abc"] = s.online.Public().tuf()
		}, ErrMalformed},
		"a key that is not there": {func(f *forgery) {
			r := f.root.Signed.Roles["timestamp"]
			r.KeyIDs = append(r.KeyIDs, "abc")
		}, ErrMalformed},
		"many signatures": {func(f *forgery) {
			for i := range 400 {
				f.timestamp.Signatures = append(f.timestamp.Signatures, metadata.Signature{KeyID: fmt.Sprintf("%064x", i), Signature: sum})
			}
		}, ErrMalformed},
		"a signature twice": {func(f *forgery) { f.online = []*SecretKey{s.online, s.online} }, ErrMalformed},
	} {
		src := s.forge(tt.change)
		if name == "the wrong version of the targets" {
			src["1.targets.json"], tt.want = src["2.targets.json"], ErrMismatch
		}
		if c, err := Load(t.Context(), src, LoadOptions{Root: src["1.root.json"]}); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, %v; want %v", name, c, err, tt.want)
		}
	}
}

// Whatever value is null, a list or a number in signed metadata, nothing panics.
func TestForgedValues(t *testing.T) {
	s := newShop(t, 1, 1)
	s.offer("room@1")
	tried := 0
	for _, name := range []string{"1.root.json", "2.targets.json", "2.snapshot.json", timestampFile} {
		for _, value := range []any{nil, []any{}, map[string]any{}, -1, "x", true} {
			for i := 0; ; i++ {
				signed, ok := replaceValue(t, s.read(name), i, value)
				if !ok {
					break
				}
				tried++
				src := s.forge(func(f *forgery) { f.put(name, resign(t, signed, s)) })
				_, err := Load(t.Context(), src, LoadOptions{Root: src["1.root.json"]})
				if value == nil && !errors.Is(err, ErrMalformed) {
					t.Errorf("%s with null in place %d: %v, want ErrMalformed", name, i, err)
				}
			}
		}
	}
	if tried < 200 {
		t.Errorf("tried %d, want at least 200", tried)
	}
}

// put sets raw bytes of a file.
func (f *forgery) put(name string, p []byte) {
	switch {
	case name == timestampFile:
		f.rawTimestamp = p
	case strings.HasSuffix(name, "snapshot.json"):
		f.rawSnapshot = p
	case strings.HasSuffix(name, "targets.json"):
		f.rawTargets = p
	default:
		f.rawRoot = p
	}
}

// resign returns metadata with these signed values, signed by all keys.
func resign(t testing.TB, signed any, s *shop) []byte {
	t.Helper()
	payload, err := cjson.EncodeCanonical(signed)
	if err != nil {
		t.Fatal(err)
	}
	signatures := []metadata.Signature{}
	for _, k := range append(slices.Clone(s.release), s.online) {
		sig, err := k.sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		signatures = append(signatures, metadata.Signature{KeyID: k.Public().ID(), Signature: sig})
	}
	p, err := json.Marshal(map[string]any{"signatures": signatures, "signed": signed})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// signRaw returns metadata with p as what is signed, if it has a canonical form.
func signRaw(p []byte, key *SecretKey) ([]byte, bool) {
	payload, err := cjson.EncodeCanonical(json.RawMessage(p))
	if err != nil {
		return nil, false
	}
	sig, err := key.sign(payload)
	if err != nil {
		return nil, false
	}
	head := fmt.Sprintf(`{"signatures":[{"keyid":"%s","sig":"%x"}],"signed":`, key.Public().ID(), sig)
	return append(append([]byte(head), p...), '}'), true
}

func mustJSON(t testing.TB, v any) []byte {
	t.Helper()
	p, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// replaceValue returns what is signed in p, with its value number i replaced.
func replaceValue(t testing.TB, p []byte, i int, value any) (signed any, ok bool) {
	t.Helper()
	var file struct {
		Signed any `json:"signed"`
	}
	if err := json.Unmarshal(p, &file); err != nil {
		t.Fatal(err)
	}
	var walk func(v any) any
	walk = func(v any) any {
		if i--; i < 0 && !ok {
			ok = true
			return value
		}
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				v[k] = walk(v[k])
			}
		case []any:
			for j := range v {
				v[j] = walk(v[j])
			}
		}
		return v
	}
	return walk(file.Signed), ok
}

// The outer form: everything that the parsers behind it must not see.
func TestCheckForm(t *testing.T) {
	deep := func(n int) string {
		return `{"signatures":[],"signed":{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}`
	}
	for text, want := range map[string]bool{
		`{"signatures":[],"signed":{}}`:                                 true,
		`{"signatures":[{"keyid":"]}\"]"}],"signed":{"a":true,"b":-1}}`: true,
		deep(maxDepth - 1):                                              true,
		deep(maxDepth):                                                  false,
		deep(1 << 20):                                                   false,
		``:                                                              false,
		`{}`:                                                            false,
		`{"signatures":[`:                                               false,
		`{"signatures":[]`:                                              false,
		`{"signatures":["`:                                              false,
		`{"signatures":["\`:                                             false,
		`{"signatures":[],"signed":{}`:                                  false,
		`{"signatures":[],"signed":[]}`:                                 false,
		`{"signed":{},"signatures":[]}`:                                 false,
		`{"signatures":[],"signed":{},"x":1}`:                           false,
		`{"signatures":[],"x":1,"signed":{}}`:                           false,
		`{"signatures":[],"signed":{}} `:                                false,
		`{"signatures":[], "signed":{}}`:                                false,
		`{"signatures":[],"signed":{"a":null}}`:                         false,
		`{"signatures":[null],"signed":{}}`:                             false,
		`{"signatures":[],"signed":{"a":1.5}}`:                          false,
		`{"signatures":[],"signed":{"a":"null 1.5"}}`:                   true,
	} {
		if err := checkForm([]byte(text)); (err == nil) != want {
			t.Errorf("%.60s: %v, want that it is taken: %t", text, err, want)
		}
	}
}
