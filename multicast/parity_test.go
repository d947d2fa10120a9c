package multicast

import (
	"math"
	"math/rand/v2"
	"testing"
)

// poisson draws from a Poisson variable (Knuth's way).
func poisson(rng *rand.Rand, mean float64) int {
	limit, product, n := math.Exp(-mean), rng.Float64(), 0
	for product > limit {
		product *= rng.Float64()
		n++
	}
	return n
}

// largest is the mean of the largest deficit as it turns out in a simulation.
func TestParityLargest(t *testing.T) {
	tests := []struct {
		k         int
		loss      float64
		receivers int
	}{
		{1, 0.01, 1}, {192, 0.01, 1}, {192, 0.01, 4}, {192, 0.01, 100}, {192, 0.05, 20}, {100, 0.1, 8}, {192, 0.001, 1000},
	}
	for _, tt := range tests {
		rng := rand.New(rand.NewPCG(uint64(tt.k), uint64(tt.receivers)))
		const rounds = 4000
		sum := 0
		for range rounds {
			most := 0
			for range tt.receivers {
				most = max(most, poisson(rng, float64(tt.k)*tt.loss))
			}
			sum += most
		}
		var p parityPlan
		list := make([]float64, tt.receivers)
		for i := range list {
			list[i] = tt.loss
		}
		p.learn(list)
		want, got := float64(sum)/rounds, p.largest(float64(tt.k))
		if math.Abs(got-want) > 0.02*want+0.05 {
			t.Errorf("%d symbols, %d receivers that lose %g: the largest deficit is %.3f, want %.3f", tt.k, tt.receivers, tt.loss, got, want)
		}
	}
}

// Receivers of different loss are put into classes, which changes little.
func TestParityClasses(t *testing.T) {
	var p parityPlan
	p.learn([]float64{0, 0.010, 0.011, 0.012, 0.3})
	if p.none() {
		t.Errorf("none is true, want false")
	}
	total := 0.0
	for _, c := range p.losses {
		total += c.count
	}
	if total != 4 {
		t.Errorf("%v receivers lose something, want 4", total)
	}
	if got, want := p.largest(100), 30.0; math.Abs(got-want) > 0.1 {
		t.Errorf("the largest deficit is %.3f, want that of the worst, %.0f", got, want)
	}
	p.learn([]float64{0, 0})
	if got := p.of(maxSource); got != 0 || !p.none() {
		t.Errorf("%d parity symbols and none %v where nothing is lost, want 0 and true", got, p.none())
	}
}

func TestPoissonUpTo(t *testing.T) {
	tests := []struct {
		m    int
		mean float64
		want float64
	}{
		{0, 0, 1}, {0, 1, math.Exp(-1)}, {1, 1, 2 * math.Exp(-1)}, {2, 2, 5 * math.Exp(-2)}, {3, 0.5, (1 + 0.5 + 0.125 + 0.125/6) * math.Exp(-0.5)},
		{100, 3, 1}, {10, 192, 0},
	}
	for _, tt := range tests {
		if got := poissonUpTo(tt.m, tt.mean); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("poissonUpTo(%d, %g) = %g, want %g", tt.m, tt.mean, got, tt.want)
		}
	}
}

// More symbols, more loss or more receivers never make less parity, and there
// is never more than maxExtra.
func TestParityMonotone(t *testing.T) {
	of := func(k, receivers int, loss float64) int {
		var p parityPlan
		list := make([]float64, receivers)
		for i := range list {
			list[i] = loss
		}
		p.learn(list)
		return p.of(k)
	}
	losses := []float64{0, 1e-6, 0.001, 0.01, 0.03, 0.1, 0.3, 0.9, 1}
	counts := []int{1, 2, 10, 1000}
	for i, loss := range losses {
		for j, n := range counts {
			for _, k := range []int{1, 2, 50, 191, 192} {
				got := of(k, n, loss)
				if got < 0 || got > maxExtra {
					t.Errorf("%d symbols, %d receivers that lose %g: %d in advance, want 0 to %d", k, n, loss, got, maxExtra)
				}
				if less := of(max(k-1, 1), n, loss); less > got {
					t.Errorf("%d receivers that lose %g: %d for %d symbols, but %d for one less", n, loss, got, k, less)
				}
				if less := of(k, n, losses[max(i-1, 0)]); less > got {
					t.Errorf("%d symbols, %d receivers: %d for a loss of %g, but %d for less", k, n, got, loss, less)
				}
				if less := of(k, counts[max(j-1, 0)], loss); less > got {
					t.Errorf("%d symbols, loss %g: %d for %d receivers, but %d for fewer", k, loss, got, n, less)
				}
			}
		}
	}
	if got := of(maxSource, 1000, 1); got != maxExtra {
		t.Errorf("%d in advance where all is lost, want %d", got, maxExtra)
	}
}
