package plan

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"slipcast/catalog/bundle"
)

// WriteText writes the plan for people: its steps, then how each product stands
// that is not as it ought to be, or, if all is true, each bundle. amount writes
// a number of bytes.
func (p *Plan) WriteText(w io.Writer, all bool, amount func(int64) string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for i, s := range p.Steps {
		if s.Restart {
			fmt.Fprintln(t, "\tstart the system anew\t\t\t")
		}
		fmt.Fprintf(t, "%d.\t%s\t%s\t%s\t%s\n", i+1, s.Bundle, or(string(s.Severity), string(bundle.Low)), amount(s.Bytes), plain(s.Why))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	p.writeStates(t, all)
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s, %s, %s\n", counted(len(p.Steps), "bundle", "bundles"), amount(p.Bytes()), counted(p.Reboots(), "reboot", "reboots"))
	return err
}

// writeStates writes products, or bundles.
func (p *Plan) writeStates(w io.Writer, all bool) {
	line := func(name string, s State, reason string) { fmt.Fprintf(w, "%s\t%s\t%s\n", name, s, plain(reason)) }
	if all {
		for _, c := range p.Cells {
			line(c.Bundle, c.State, c.Reason)
		}
		return
	}
	for _, q := range p.Products {
		if q.State != Installed && q.State != NotApplicable {
			line(q.Name, q.State, q.Reason)
		}
	}
}

// WriteJSON writes an object a line: steps, products, cells, then the sum with
// the digest of the plan.
func (p *Plan) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	put := func(kind string, v any) error { return e.Encode(&typed{kind, v}) }
	for i := range p.Steps {
		if err := put("plan_step", &p.Steps[i]); err != nil {
			return err
		}
	}
	for i := range p.Products {
		if err := put("plan_product", &p.Products[i]); err != nil {
			return err
		}
	}
	for i := range p.Cells {
		if err := put("plan_bundle", &p.Cells[i]); err != nil {
			return err
		}
	}
	return put("plan", map[string]any{
		"digest": p.Digest(), "root": p.Root, "catalog": p.Catalog, "steps": len(p.Steps), "reboots": p.Reboots(), "bytes": p.Bytes(),
	})
}

// A typed object has "type" and "schema" before its own keys.
type typed struct {
	kind string
	v    any
}

// MarshalJSON implements json.Marshaler.
func (t *typed) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(t.v)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"type":%q,"schema":%d,%s`, t.kind, schema, text[1:]), nil
}
