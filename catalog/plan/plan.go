package plan

import (
	"slipcast/catalog/bundle"
	"slipcast/catalog/condition"
)

// schema is the version of a plan's JSON.
const schema = 1

// A Plan is the bundles that a root gets, in their order, and why. Its JSON is
// specified in docs/bundles.md, section 8.1. It is data that belongs to its
// holder.
type Plan struct {
	Schema    int       `json:"schema"`
	Root      string    `json:"root,omitempty"`            // the digest of the image or tree that was looked at; empty: of a running system, which has none
	Catalog   int64     `json:"catalog,omitempty"`         // the version of the catalog's targets
	Machine   bool      `json:"machine,omitempty"`         // a machine was there to be asked
	Goals     []string  `json:"goals,omitempty"`           // that were named; empty: all products
	Downgrade bool      `json:"allow_downgrade,omitempty"` // recalled versions may be replaced by lower ones
	Steps     []Step    `json:"steps,omitempty"`           // in the order in which they run
	Products  []Product `json:"products,omitempty"`        // ordered by name
	Cells     []Cell    `json:"cells,omitempty"`           // ordered by product, then from the highest version down
}

// A Step is one bundle that is applied.
type Step struct {
	Bundle      string          `json:"bundle"` // NAME@VERSION-RELEASE
	Digest      string          `json:"digest"` // of its manifest
	From        string          `json:"from,omitempty"`
	FromRelease int             `json:"from_release,omitempty"` // 0 if From is empty, or nobody knows
	Severity    bundle.Severity `json:"severity,omitempty"`
	Bytes       int64           `json:"bytes,omitempty"` // of its file
	Reboot      bundle.Reboot   `json:"reboot,omitempty"`
	Restart     bool            `json:"restart,omitempty"` // the system is started anew before this step
	Downgrade   bool            `json:"downgrade,omitempty"`
	Params      []Value         `json:"params,omitempty"` // ordered by name
	Why         string          `json:"why"`
}

// A Value is a setting that a bundle is applied with.
type Value struct {
	Name    string `json:"name"`
	Value   string `json:"value,omitempty"`
	Secret  bool   `json:"secret,omitempty"`  // Value is empty: who applies the plan asks for it
	Machine string `json:"machine,omitempty"` // Value is empty: it is filled in from the machine
}

// A State says how a bundle or a product stands to a root. A reason always goes
// with it.
type State string

// The states of a plan. Compliance has some of them and others, see [OK].
const (
	Installed     State = "installed"
	Missing       State = "missing"
	NotApplicable State = "not-applicable"
	Unknown       State = "unknown"
	Superseded    State = "superseded"
	Recalled      State = "recalled"
)

// A Product is how a product stands to the root.
type Product struct {
	Name     string             `json:"name"` // NAME or NAME/TRACK
	State    State              `json:"state"`
	Version  string             `json:"version,omitempty"` // that is there; empty: none, or unknown
	Release  int                `json:"release,omitempty"` // of it; 0 if nobody knows
	Unsure   bool               `json:"unsure,omitempty"`  // nobody knows which version is there
	Goal     string             `json:"goal,omitempty"`    // the bundle that ought to be there; empty: none
	After    string             `json:"after,omitempty"`   // the version after the plan, if that changes it
	Severity bundle.Severity    `json:"severity,omitempty"`
	Reason   string             `json:"reason"`
	Probes   []condition.Answer `json:"probes,omitempty"` // what detection asked
}

// A Cell is how one bundle stands to the root.
type Cell struct {
	Bundle string             `json:"bundle"`
	State  State              `json:"state"`
	Reason string             `json:"reason"`
	Probes []condition.Answer `json:"probes,omitempty"` // what applies asked
}

// Reboots returns how often a system that runs is started anew for the plan,
// the one after the last step included.
func (p *Plan) Reboots() int {
	n, due := 0, false
	for _, s := range p.Steps {
		if s.Restart {
			n, due = n+1, false
		}
		due = due || s.Reboot == bundle.Required || s.Reboot == bundle.Between
	}
	if due {
		n++
	}
	return n
}

// Bytes returns the size of the files of all steps.
func (p *Plan) Bytes() int64 {
	var n int64
	for _, s := range p.Steps {
		n += s.Bytes
	}
	return n
}
