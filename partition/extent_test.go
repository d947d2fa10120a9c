package partition

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

// A bitmap is the model that Extents are compared with: one bool for each of
// a few bytes.
type bitmap [64]bool

func (m *bitmap) set(x []Extent) {
	for _, e := range x {
		for i := e.Start; i < e.End(); i++ {
			m[i] = true
		}
	}
}

// extents returns the runs of m within e.
func (m *bitmap) extents(e Extent) Extents {
	var out Extents
	for i := e.Start; i < e.End(); i++ {
		switch {
		case !m[i]:
		case len(out) > 0 && out[len(out)-1].End() == i:
			out[len(out)-1].Length++
		default:
			out = append(out, Extent{i, 1})
		}
	}
	return out
}

// modelOf turns a string of bytes into overlapping extents, in no order.
func modelOf(p []byte) []Extent {
	var x []Extent
	for ; len(p) >= 2; p = p[2:] {
		start := int64(p[0] % 64)
		x = append(x, Extent{start, int64(p[1]) % (65 - start)})
	}
	return x
}

func equalExtents(t *testing.T, what string, got, want Extents) {
	t.Helper()
	if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// FuzzExtents compares every operation of sets with a bitmap.
func FuzzExtents(f *testing.F) {
	f.Add([]byte{1, 5, 9, 2, 6, 3, 40, 0}, []byte{4, 30}, byte(3), byte(20))
	f.Add([]byte{0, 64}, []byte{}, byte(0), byte(0))
	f.Add([]byte{10, 1, 12, 1, 14, 1}, []byte{11, 1, 13, 1}, byte(63), byte(1))
	f.Fuzz(func(t *testing.T, p, q []byte, start, length byte) {
		var x, y, both, minus bitmap
		x.set(modelOf(p))
		y.set(modelOf(q))
		for i := range both {
			both[i], minus[i] = x[i] || y[i], x[i] && !y[i]
		}
		all := Extent{0, 64}
		e := Extent{int64(start % 64), 0}
		e.Length = int64(length) % (65 - e.Start)

		ex, ey := Normalize(modelOf(p)), Normalize(modelOf(q))
		equalExtents(t, "Normalize", ex, x.extents(all))
		equalExtents(t, "Union", ex.Union(ey), both.extents(all))
		equalExtents(t, "Minus", ex.Minus(ey), minus.extents(all))
		equalExtents(t, "Within", ex.Within(e), x.extents(e))
		equalExtents(t, "Shift", ex.Shift(7).Shift(-7), ex)
		checkGaps(t, ex, e)
		checkQuestions(t, ex, x.extents(e), e)
	})
}

// checkGaps: the gaps of x in e are what is missing from e.
func checkGaps(t *testing.T, x Extents, e Extent) {
	t.Helper()
	gaps := x.Gaps(e)
	if got := gaps.Size() + x.Within(e).Size(); got != e.Length {
		t.Errorf("gaps and extents of %v in %v: got %d bytes, want %d", x, e, got, e.Length)
	}
	for _, g := range gaps {
		if x.Touches(g) {
			t.Errorf("gap %v of %v is in use", g, x)
		}
	}
}

// checkQuestions compares what x says of e with the parts of x that are in e.
func checkQuestions(t *testing.T, x, inside Extents, e Extent) {
	t.Helper()
	if got, want := x.Touches(e), len(inside) > 0; got != want {
		t.Errorf("%v touches %v: got %v, want %v", x, e, got, want)
	}
	if got, want := x.Covers(e), inside.Size() == e.Length; got != want {
		t.Errorf("%v covers %v: got %v, want %v", x, e, got, want)
	}
	if len(x) > 0 && x.End() != x[len(x)-1].End() || len(x) == 0 && x.End() != 0 {
		t.Errorf("end of %v: got %d", x, x.End())
	}
}

func TestExtentIntersect(t *testing.T) {
	tests := []struct{ a, b, want Extent }{
		{Extent{0, 10}, Extent{5, 10}, Extent{5, 5}},
		{Extent{5, 10}, Extent{0, 10}, Extent{5, 5}},
		{Extent{0, 10}, Extent{2, 3}, Extent{2, 3}},
		{Extent{0, 5}, Extent{5, 5}, Extent{5, 0}},
		{Extent{0, 5}, Extent{9, 5}, Extent{9, 0}},
	}
	for _, tt := range tests {
		if got := tt.a.Intersect(tt.b); got != tt.want {
			t.Errorf("%v and %v: got %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}

// A Builder within its limit returns exactly what was added.
func TestBuilderExact(t *testing.T) {
	var b Builder
	for _, e := range []Extent{{100, 10}, {110, 5}, {0, 3}, {7, 0}, {7, -4}, {50, 20}, {60, 45}} {
		b.Add(e.Start, e.Length)
	}
	equalExtents(t, "extents", b.Extents(), Extents{{0, 3}, {50, 65}})
}

// A range that no disk can hold is cut, and does not wrap around.
func TestBuilderOverflow(t *testing.T) {
	var b Builder
	b.Add(math.MaxInt64-5, 100)
	b.Add(10, math.MaxInt64)
	equalExtents(t, "extents", b.Extents(), Extents{{10, math.MaxInt64 - 10}})
}

// A Builder beyond its limit loses nothing, stays within the limit, and
// closes the smallest gaps.
func TestBuilderLimit(t *testing.T) {
	b := Builder{limit: 3}
	var want bitmap
	for _, start := range []int64{60, 0, 10, 13, 20, 21, 40} {
		b.Add(start, 1)
		want[start] = true
	}
	got := b.Extents()
	equalExtents(t, "extents", got, Extents{{0, 22}, {40, 1}, {60, 1}})
	for i, used := range want {
		if used && !got.Covers(Extent{int64(i), 1}) {
			t.Errorf("byte %d was lost", i)
		}
	}
}

// Equal gaps are closed one by one, not all at once.
func TestBuilderTies(t *testing.T) {
	b := Builder{limit: 10}
	for i := range int64(11) {
		b.Add(i*8192, 4096)
	}
	if got := b.Extents(); len(got) != 10 || got.Size() != 12*4096 {
		t.Errorf("got %d extents of %d bytes, want 10 of %d: %v", len(got), got.Size(), 12*4096, got)
	}
}

// Whatever is added in whatever order, the result covers it, and memory is
// bounded on the way.
func TestBuilderRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		b := Builder{limit: 1 + rng.IntN(40)}
		var added []Extent
		for range rng.IntN(300) {
			e := Extent{rng.Int64N(1 << 30), rng.Int64N(1 << 16)}
			added = append(added, e)
			b.Add(e.Start, e.Length)
			if len(b.list) > 2*b.limit {
				t.Fatalf("%d extents in memory, want at most %d", len(b.list), 2*b.limit)
			}
		}
		got := b.Extents()
		if len(got) > b.limit {
			t.Fatalf("got %d extents, want at most %d", len(got), b.limit)
		}
		if lost := Normalize(added).Minus(got); lost != nil {
			t.Fatalf("lost %v", lost)
		}
	}
}
