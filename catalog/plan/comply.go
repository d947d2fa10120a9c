package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"slipcast/catalog/bundle"
	"slipcast/catalog/version"
)

// The states of compliance besides [Missing], [Recalled], [Superseded],
// [NotApplicable] and [Unknown]. Only OK, NotApplicable and Waived are
// compliant.
const (
	OK            State = "ok"
	PendingReboot State = "pending-reboot" // it is there, and takes effect when the system is started anew
	Failed        State = "failed"         // the last attempt to bring it failed
	DetectBroken  State = "detect-broken"  // it was applied twice with success, and detection still says no
	Drifted       State = "drifted"        // it was applied, and is not there any more
	Waived        State = "waived"         // somebody lets it be so for a time
)

// A Report is what is known of one root.
type Report struct {
	Root     string // what people call it: a folder, an image, a machine
	Plan     *Plan  // that was resolved for it, with all products as goals
	Receipts []Receipt
}

// A Waiver lets a product be as it is on a root.
type Waiver struct {
	Root    string    // empty: on all of them
	Product string    // empty: all of them
	Until   time.Time // from then on it does not count
	By      string
	Reason  string
}

// A Sighting is that a product was not as it ought to be. Whoever keeps those of
// one matrix for the next knows since when.
type Sighting struct {
	Root    string    `json:"root"`
	Product string    `json:"product"`
	Since   time.Time `json:"since"`
}

// ComplyOptions are what compliance is judged by besides reports.
type ComplyOptions struct {
	Now     time.Time
	Waivers []Waiver
	Seen    []Sighting                        // from the matrix before; nil: everything is seen for the first time
	Limits  map[bundle.Severity]time.Duration // how long a product may lack a bundle of a severity; nil: [DefaultLimits]
}

// DefaultLimits are how long a product may lack a bundle of a severity before
// it is overdue. One of low severity never is.
func DefaultLimits() map[bundle.Severity]time.Duration {
	const day = 24 * time.Hour
	return map[bundle.Severity]time.Duration{bundle.Critical: 7 * day, bundle.Important: 30 * day, bundle.Moderate: 90 * day}
}

// A Standing is a cell of a matrix: how one product stands on one root.
type Standing struct {
	Root     string
	Product  string
	State    State
	Version  string          // that is there
	Goal     string          // the bundle that ought to be there; empty: none
	Severity bundle.Severity // of what is lacking
	Reason   string
	Since    time.Time // when it was first seen not to be as it ought to; zero if it is
	Overdue  bool      // it is so for longer than its severity allows
}

// A Matrix is how products stand on roots.
type Matrix struct {
	Time      time.Time
	Standings []Standing // ordered by root, then product
}

// Comply judges the products of all reports: docs/bundles.md, section 11.
func Comply(reports []Report, opt ComplyOptions) *Matrix {
	if opt.Limits == nil {
		opt.Limits = DefaultLimits()
	}
	seen := map[[2]string]time.Time{}
	for _, s := range opt.Seen {
		seen[[2]string{s.Root, s.Product}] = s.Since
	}
	m := &Matrix{Time: opt.Now}
	for i := range reports {
		r := &reports[i]
		for j := range r.Plan.Products {
			s := r.standing(&r.Plan.Products[j])
			opt.age(&s, seen)
			opt.waive(&s)
			m.Standings = append(m.Standings, s)
		}
	}
	slices.SortFunc(m.Standings, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.Root, b.Root), cmp.Compare(a.Product, b.Product))
	})
	return m
}

// standing judges one product.
func (r *Report) standing(p *Product) Standing {
	s := Standing{Root: r.Root, Product: p.Name, Version: p.Version, Goal: p.Goal, Severity: p.Severity}
	s.State, s.Reason = p.State, p.Reason
	receipt := r.receipt(p.Name)
	switch p.State {
	case Installed:
		s.State = OK
		if receipt.Reboot {
			s.State, s.Reason = PendingReboot, p.Reason+"; it takes effect when the system is started anew"
		}
	case Missing:
		s.State, s.Reason = lacking(p, receipt)
	}
	return s
}

// receipt returns that of a product; the zero one if there is none.
func (r *Report) receipt(product string) Receipt {
	i := slices.IndexFunc(r.Receipts, func(r Receipt) bool { return r.Product == product })
	if i < 0 {
		return Receipt{}
	}
	return r.Receipts[i]
}

// lacking says why a product is not where it ought to be, by its receipt.
func lacking(p *Product, r Receipt) (State, string) {
	id, err := bundle.ParseID(r.Bundle)
	switch {
	case r.Failed != "":
		return Failed, reasonf("%s failed: %s; %s", r.Bundle, valid(r.Failed), p.Reason)
	case err != nil || r.Applied == 0 || version.Same(r.Scheme, id.Version, p.Version):
		return Missing, p.Reason
	case r.Applied > 1:
		return DetectBroken, fmt.Sprintf("%s was applied %d times with success, and detection still does not find it; %s", r.Bundle, r.Applied, p.Reason)
	}
	return Drifted, fmt.Sprintf("the receipt says that %s was applied, and detection does not find it; %s", r.Bundle, p.Reason)
}

// Compliant tells whether a product in this state is as it ought to be, or
// nobody minds.
func (s State) Compliant() bool { return s == OK || s == NotApplicable || s == Waived }

// age says since when a product is not as it ought to be.
func (opt *ComplyOptions) age(s *Standing, seen map[[2]string]time.Time) {
	if s.State.Compliant() {
		return
	}
	s.Since = opt.Now
	if since, ok := seen[[2]string{s.Root, s.Product}]; ok && since.Before(opt.Now) {
		s.Since = since
	}
	limit, ok := opt.Limits[s.Severity]
	s.Overdue = ok && opt.Now.Sub(s.Since) > limit
}

// waive applies the waiver that lasts longest.
func (opt *ComplyOptions) waive(s *Standing) {
	if s.State.Compliant() {
		return
	}
	var best *Waiver
	for i := range opt.Waivers {
		w := &opt.Waivers[i]
		if (w.Root == "" || w.Root == s.Root) && (w.Product == "" || w.Product == s.Product) && (best == nil || best.Until.Before(w.Until)) {
			best = w
		}
	}
	switch {
	case best == nil:
	case best.Until.After(opt.Now):
		s.Reason = reasonf("waived by %s until %s: %s; %s: %s", best.By, day(best.Until), best.Reason, s.State, s.Reason)
		s.State, s.Overdue = Waived, false
	default:
		s.Reason = reasonf("%s; the waiver by %s ended on %s", s.Reason, best.By, day(best.Until))
	}
}

// Waive lets some of what is not as it ought to be pass, as
// [ComplyOptions.Waivers] do: for a matrix that was not made by [Comply].
func (m *Matrix) Waive(list []Waiver) {
	opt := ComplyOptions{Now: m.Time, Waivers: list}
	for i := range m.Standings {
		opt.waive(&m.Standings[i])
	}
}

// day returns the day of a moment.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// Percent returns how many of the products that apply are compliant, in percent
// with one decimal, rounded down: only what is complete is 100. Where nothing
// applies, that is complete.
func (m *Matrix) Percent() float64 {
	count, good := 0, 0
	for _, s := range m.Standings {
		if s.State == NotApplicable {
			continue
		}
		count++
		if s.State.Compliant() {
			good++
		}
	}
	if count == 0 {
		return 100
	}
	return float64(1000*good/count) / 10
}

// A Tally is how many cells are in one state.
type Tally struct {
	State State
	Count int
}

// Tallies returns how many cells are in each state, those that need somebody
// first. States without cells are not among them.
func (m *Matrix) Tallies() []Tally {
	counts := map[State]int{}
	for _, s := range m.Standings {
		counts[s.State]++
	}
	var list []Tally
	for _, state := range []State{
		Recalled, Failed, DetectBroken, Drifted, Missing, Superseded, PendingReboot, Unknown, Waived, OK, NotApplicable,
	} {
		if counts[state] > 0 {
			list = append(list, Tally{state, counts[state]})
		}
	}
	return list
}

// Overdue returns how many cells are so.
func (m *Matrix) Overdue() int {
	n := 0
	for _, s := range m.Standings {
		if s.Overdue {
			n++
		}
	}
	return n
}

// Sightings returns what the next matrix needs to know since when something is
// not as it ought to be.
func (m *Matrix) Sightings() []Sighting {
	var list []Sighting
	for _, s := range m.Standings {
		if !s.Since.IsZero() {
			list = append(list, Sighting{s.Root, s.Product, s.Since})
		}
	}
	return list
}
