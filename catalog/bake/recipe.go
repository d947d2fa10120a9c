package bake

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"slipcast/image"
)

// recipeSchema is the version of docs/bundles.md, section 10, that this package follows.
const recipeSchema = 1

// A Recipe is all that a baked image depends on: section 10 of
// docs/bundles.md. Its JSON, in the order of these fields, is what is digested.
type Recipe struct {
	Schema  int          `json:"schema"`  // 1
	Parent  string       `json:"parent"`  // digest of the image, in hexadecimal
	Time    int64        `json:"time"`    // of everything that is laid, in seconds since 1970
	Bundles []Ingredient `json:"bundles"` // in the order in which they are applied
}

// An Ingredient is a bundle with its parameters.
type Ingredient struct {
	Digest string            `json:"digest"`           // of its manifest, in hexadecimal
	Params map[string]string `json:"params,omitempty"` // that have not their default; ordered by name
}

// Digest returns the SHA-256 of the recipe's canonical JSON, in hexadecimal. A
// store that has an image of that recipe need not bake it again.
func (r *Recipe) Digest() (string, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return "", err
	}
	sum := sha256.Sum256(text.Bytes())
	return hex.EncodeToString(sum[:]), nil
}

// sourcePrefix comes before the digest of a recipe in the origin of an image.
const sourcePrefix = "baked by recipe "

// RecipeOf returns the digest of the recipe that an image was baked by, as its
// origin says; empty if it says nothing of that. An origin is not part of what
// an image's digest stands for: it finds an image, and proves nothing.
func RecipeOf(o image.Origin) string {
	digest, ok := strings.CutPrefix(o.Source, sourcePrefix)
	if sum, err := hex.DecodeString(digest); !ok || err != nil || len(sum) != sha256.Size {
		return ""
	}
	return digest
}

// bakeTime returns the time of a recipe whose maker names none: when the parent
// was captured, so that the same inputs give the same; or 1980, the first
// year that every file system knows.
func bakeTime(parent *image.Image) time.Time {
	if t := parent.Origin.Time; !t.IsZero() && t.Unix() > 0 {
		return t
	}
	return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
}

// newRecipe returns the recipe of the steps laid onto parent. A bundle that
// asks for the machine is refused: there is none.
func newRecipe(parent *image.Image, steps []Step, at time.Time) (*Recipe, error) {
	r := &Recipe{Schema: recipeSchema, Parent: parent.Digest.String(), Time: at.Unix(), Bundles: []Ingredient{}}
	for _, s := range steps {
		m := s.bundle.Manifest
		if m.Machine {
			return nil, fmt.Errorf("%s: %w", m.ID(), ErrMachine)
		}
		in := Ingredient{Digest: s.bundle.Digest}
		for _, p := range m.Params {
			if value, ok := s.Params[p.Name]; ok && value != p.Default {
				in.add(p.Name, value)
			}
		}
		r.Bundles = append(r.Bundles, in)
	}
	return r, nil
}

func (in *Ingredient) add(name, value string) {
	if in.Params == nil {
		in.Params = map[string]string{}
	}
	in.Params[name] = value
}
