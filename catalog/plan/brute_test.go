package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// A world is a small catalog and what is there, as the brute-force planner sees
// it: it tries every order of every bundle.
type world struct {
	bundles []Bundle
	there   map[string]string
}

// randomWorld makes a world of a few products. With bounds there are ranges with
// upper ends, and conflicts.
func randomWorld(r *rand.Rand, bounds bool) world {
	w := world{there: map[string]string{}}
	names := []string{"a", "b", "c"}[:2+r.IntN(2)]
	for _, name := range names {
		highest := 1 + r.IntN(4)
		for v := 1; v <= highest; v++ {
			if r.IntN(6) == 0 {
				continue
			}
			w.bundles = append(w.bundles, a(randomBundle(r, name, v, names, bounds)))
		}
		known := slices.ContainsFunc(w.bundles, func(b Bundle) bool { return b.Name == name })
		if known && r.IntN(2) == 0 {
			w.there[name] = fmt.Sprint(r.IntN(highest + 2))
		}
	}
	return w
}

func randomBundle(r *rand.Rand, name string, v int, names []string, bounds bool) string {
	words := []string{fmt.Sprintf("%s@%d-1", name, v)}
	if r.IntN(2) == 0 {
		words = append(words, []string{"critical", "important", "low"}[r.IntN(3)])
	}
	switch r.IntN(4) {
	case 0:
		words = append(words, fmt.Sprintf("onto:>=%d", max(0, v-1-r.IntN(2))))
	case 1:
		words = append(words, "fresh", fmt.Sprintf("onto:=%d", v-1))
	}
	for range r.IntN(3) {
		other := names[r.IntN(len(names))]
		if other == name {
			continue
		}
		ref := fmt.Sprintf("needs:%s>=%d", other, r.IntN(4))
		if bounds {
			ref = fmt.Sprintf("%s:%s%s%d", []string{"needs", "needs", "against"}[r.IntN(3)], other, []string{">=", "<=", "="}[r.IntN(3)], r.IntN(4))
		}
		words = append(words, ref)
	}
	if r.IntN(10) == 0 {
		words = append(words, "recalled")
	}
	return strings.Join(words, " ")
}

func (w world) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "there: %v\n", w.there)
	for _, x := range w.bundles {
		fmt.Fprintf(&b, "%s %s from %v requires %v conflicts %v recalled %t\n", x.ID(), x.Severity, x.From, x.Requires, x.Conflicts, x.Recalled != "")
	}
	return b.String()
}

// A position is what is there of each product, as text that can be compared.
type position map[string]string

func (p position) key() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s ", name, p[name])
	}
	return b.String()
}

// A ruler knows the rules of section 8, written down a second time and plainly:
// versions are single digits here, so texts compare as they do.
type ruler struct {
	world
	start position
}

func newRuler(w world) *ruler { return &ruler{world: w, start: maps.Clone(w.there)} }

func inRange(v, text string) bool {
	for word := range strings.FieldsSeq(text) {
		op := strings.TrimRight(word, "0123456789")
		n := strings.TrimPrefix(word, op)
		ok := map[string]bool{">=": v >= n, "<=": v <= n, "=": v == n, "<": v < n, ">": v > n}[op]
		if !ok {
			return false
		}
	}
	return true
}

// steps tells whether a bundle may be applied at a position.
func (r *ruler) may(b *Bundle, at position) bool {
	now, there := at[b.Product()]
	if b.Recalled != "" || there && b.Version <= now {
		return false
	}
	goes := len(b.From) == 0
	for _, f := range b.From {
		goes = goes || !there && f.Nothing || there && (f.Range != "" || !f.Nothing) && inRange(now, f.Range)
	}
	return goes && r.fits(b, at) && !r.enemies(b, at)
}

// fits tells whether what b requires is there, and nothing that it conflicts with.
func (r *ruler) fits(b *Bundle, at position) bool {
	for _, ref := range b.Requires {
		if v, ok := at[ref.Product]; !ok || !inRange(v, ref.Range) {
			return false
		}
	}
	for _, ref := range b.Conflicts {
		if v, ok := at[ref.Product]; ok && inRange(v, ref.Range) {
			return false
		}
	}
	return true
}

// enemies tells whether something that is there conflicts with b.
func (r *ruler) enemies(b *Bundle, at position) bool {
	for i := range r.bundles {
		o := &r.bundles[i]
		if v, ok := at[o.Product()]; !ok || v != o.Version {
			continue
		}
		for _, ref := range o.Conflicts {
			if ref.Product == b.Product() && inRange(b.Version, ref.Range) {
				return true
			}
		}
	}
	return false
}

// sound tells whether a plan may end here: no bundle that is there has lost
// what it requires, or got beside it what it conflicts with. What did not fit
// at the start need not fit now.
func (r *ruler) sound(at position) bool {
	for i := range r.bundles {
		b := &r.bundles[i]
		if v, ok := at[b.Product()]; !ok || v != b.Version {
			continue
		}
		old := r.start[b.Product()] == b.Version
		for _, ref := range b.Requires {
			before, was := r.start[ref.Product]
			now, is := at[ref.Product]
			held := was && inRange(before, ref.Range)
			if !(is && inRange(now, ref.Range)) && (!old || held) {
				return false
			}
		}
		for _, ref := range b.Conflicts {
			before, was := r.start[ref.Product]
			now, is := at[ref.Product]
			clashed := was && inRange(before, ref.Range)
			if is && inRange(now, ref.Range) && (!old || !clashed) {
				return false
			}
		}
	}
	return true
}

// reachable returns every position that there is a way to, with the fewest
// steps of each product on one.
func (r *ruler) reachable() map[string]position {
	all := map[string]position{r.start.key(): r.start}
	queue := []position{r.start}
	for ; len(queue) > 0; queue = queue[1:] {
		for i := range r.bundles {
			b := &r.bundles[i]
			if !r.may(b, queue[0]) {
				continue
			}
			next := maps.Clone(queue[0])
			if next == nil {
				next = position{}
			}
			next[b.Product()] = b.Version
			if _, ok := all[next.key()]; !ok {
				all[next.key()] = next
				queue = append(queue, next)
			}
		}
	}
	return all
}

// fewest returns the least number of steps to positions in which all of want is
// there; -1 if there is none.
func (r *ruler) fewest(want position) int {
	depth := map[string]int{r.start.key(): 0}
	queue := []position{r.start}
	for ; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		done := r.sound(at)
		for name, v := range want {
			done = done && at[name] == v
		}
		if done {
			return depth[at.key()]
		}
		for i := range r.bundles {
			b := &r.bundles[i]
			if !r.may(b, at) {
				continue
			}
			next := position{}
			maps.Copy(next, at)
			next[b.Product()] = b.Version
			if _, ok := depth[next.key()]; !ok {
				depth[next.key()] = depth[at.key()] + 1
				queue = append(queue, next)
			}
		}
	}
	return -1
}

// follow runs a plan by the rules, and returns where it ends.
func (r *ruler) follow(p *Plan) (position, error) {
	at := position{}
	maps.Copy(at, r.start)
	for i, s := range p.Steps {
		n := slices.IndexFunc(r.bundles, func(b Bundle) bool { return b.ID() == s.Bundle })
		if n < 0 || !r.may(&r.bundles[n], at) {
			return nil, fmt.Errorf("step %d, %s, breaks a rule", i+1, s.Bundle)
		}
		at[r.bundles[n].Product()] = r.bundles[n].Version
	}
	if !r.sound(at) {
		return nil, fmt.Errorf("something does not fit at the end")
	}
	return at, nil
}

func (w world) root() *testRoot {
	r := have()
	maps.Copy(r.pkg, w.there)
	return r
}

// Where requirements have lower ends alone, and nothing conflicts, the planner
// reaches whatever can be reached: for every product the highest version to
// which there is any way. It does so with as few steps as any order of bundles
// needs, but for the odd knot of products that need each other: those are counted.
func TestResolveIsBest(t *testing.T) {
	const worlds = 3000
	chains, longer := 0, 0
	for seed := range uint64(worlds) {
		w := randomWorld(rand.New(rand.NewPCG(1, seed)), false)
		rule := newRuler(w)
		p := resolve(t, w.bundles, w.root(), Options{})
		end, err := rule.follow(p)
		if err != nil {
			t.Fatalf("world %d: %v\n%v%s", seed, err, w, steps(p))
		}
		best := position{}
		for _, at := range rule.reachable() {
			for name, v := range at {
				best[name] = max(best[name], v)
			}
		}
		if end.key() != best.key() {
			t.Fatalf("world %d: the plan ends at %s, and %s can be reached\n%v%s", seed, end.key(), best.key(), w, steps(p))
		}
		if len(p.Steps) != rule.fewest(end) {
			longer++
		}
		if len(p.Steps) > 3 {
			chains++
		}
	}
	if chains < worlds/50 {
		t.Errorf("only %d of %d worlds need more than three steps: they are too simple", chains, worlds)
	}
	if longer > worlds/1000 {
		t.Errorf("%d of %d plans have more steps than are needed, want at most %d", longer, worlds, worlds/1000)
	}
}

// With upper ends and conflicts a plan keeps every rule at every step and at its
// end, and nothing more can be had on top of it: whatever of the goals is left
// has no way from there that would not take away what something else needs.
func TestResolveIsSound(t *testing.T) {
	const worlds = 3000
	left := 0
	for seed := range uint64(worlds) {
		w := randomWorld(rand.New(rand.NewPCG(2, seed)), true)
		rule := newRuler(w)
		p := resolve(t, w.bundles, w.root(), Options{})
		end, err := rule.follow(p)
		if err != nil {
			t.Fatalf("world %d: %v\n%v%s", seed, err, w, steps(p))
		}
		if slices.ContainsFunc(w.bundles, func(b Bundle) bool { return b.Recalled == "" && b.Version > end[b.Name] }) {
			left++
		}
		after := newRuler(world{bundles: w.bundles, there: end})
		for _, at := range after.reachable() {
			if at.key() != end.key() && after.sound(at) {
				t.Fatalf("world %d: the plan ends at %s, and could go on to %s\n%v%s", seed, end.key(), at.key(), w, steps(p))
			}
		}
	}
	if left < worlds/5 {
		t.Errorf("only %d of %d plans leave something out: the worlds are too simple", left, worlds)
	}
}

// Where a plan has run, the next one is empty: it wants what the first left out
// no more than the first did.
func TestResolveIsDone(t *testing.T) {
	for seed := range uint64(3000) {
		w := randomWorld(rand.New(rand.NewPCG(3, seed)), true)
		r := w.root()
		first := resolve(t, w.bundles, r, Options{})
		r.apply(t, first)
		if again := resolve(t, w.bundles, r, Options{}); len(again.Steps) > 0 {
			t.Fatalf("world %d: after %q comes %q\n%v", seed, steps(first), steps(again), w)
		}
	}
}

// A plan is the same, byte for byte, in whatever order the bundles come.
func TestResolveIsDeterministic(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(4, seed))
		w := randomWorld(r, true)
		want := string(resolve(t, w.bundles, w.root(), Options{}).Encode())
		for range 3 {
			shuffled := slices.Clone(w.bundles)
			r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if got := string(resolve(t, shuffled, w.root(), Options{}).Encode()); got != want {
				t.Fatalf("world %d: in another order:\n%s\nwant\n%s", seed, got, want)
			}
		}
	}
}
