package multicast

import "math"

// maxExtra is the most parity symbols that a block gets in advance.
const maxExtra = 32

// A parityPlan says how many parity symbols a block gets in advance.
type parityPlan struct {
	losses []lossClass
	cache  [maxSource + 1]int8 // by source symbols: one more than the answer, 0 if it is not known
}

// A lossClass counts receivers that lose about the same.
type lossClass struct {
	loss  float64
	count float64
}

// learn takes in what the receivers of a lane lose at present.
func (p *parityPlan) learn(losses []float64) {
	const classes = 32 // on a scale of powers of two, so that many receivers cost little
	var sum, count [classes]float64
	for _, x := range losses {
		i := 0
		if x > 0 {
			i = min(max(int(2*math.Log2(x))+classes-1, 0), classes-1)
		}
		sum[i] += x
		count[i]++
	}
	p.losses = p.losses[:0]
	for i, n := range count {
		if sum[i] > 0 {
			p.losses = append(p.losses, lossClass{sum[i] / n, n})
		}
	}
	p.cache = [maxSource + 1]int8{}
}

// none tells that nothing is lost at present.
func (p *parityPlan) none() bool { return len(p.losses) == 0 }

// of returns how many parity symbols a block of k source symbols gets.
func (p *parityPlan) of(k int) int {
	if p.cache[k] == 0 {
		p.cache[k] = 1 + int8(min(maxExtra, int(0.8*p.largest(float64(k)))))
	}
	return int(p.cache[k]) - 1
}

// largest returns the expected value of the largest deficit among the
// receivers: of independent Poisson variables.
func (p *parityPlan) largest(k float64) float64 {
	var mean float64
	for m := range 2 * maxExtra {
		all := 1.0 // the probability that no deficit is above m
		for _, c := range p.losses {
			all *= math.Pow(poissonUpTo(m, k*c.loss), c.count)
		}
		mean += 1 - all
		if all > 1-1e-6 {
			break
		}
	}
	return mean
}

// poissonUpTo returns the probability that a Poisson variable is at most m.
func poissonUpTo(m int, mean float64) float64 {
	term := math.Exp(-mean)
	sum := term
	for i := 1; i <= m; i++ {
		term *= mean / float64(i)
		sum += term
	}
	return min(sum, 1)
}
