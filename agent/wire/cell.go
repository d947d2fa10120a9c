package wire

// A Cell is how a product of the catalog stands to what was restored:
// docs/bundles.md, section 11.
type Cell struct {
	Product  string    `json:"product"`           // NAME or NAME/TRACK
	Version  string    `json:"version,omitempty"` // that is there; empty: none, or nobody knows
	State    CellState `json:"state"`
	Severity string    `json:"severity,omitempty"`
	Reason   string    `json:"reason,omitempty"` // there always is one unless all is well
}

// A CellState is the state of a [Cell]. Which there are is up to the catalog;
// these are known here.
type CellState string

// The states that are well, and the one of a bundle that did not go on.
const (
	CellOK            CellState = "ok"
	CellNotApplicable CellState = "not-applicable"
	CellWaived        CellState = "waived"
	CellFailed        CellState = "failed"
)

// Good tells whether the machine is, as far as c goes, as the catalog wants it.
func (c *Cell) Good() bool {
	return c.State == CellOK || c.State == CellNotApplicable || c.State == CellWaived
}
