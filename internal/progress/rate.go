package progress

import "time"

// window is how far back the rate looks, at least. Shorter ones make the time
// left jump, longer ones hide that a disk has become slow.
const window = 5 * time.Second

// maxLeft is the longest time left that is told. What is longer is no forecast.
const maxLeft = 100 * time.Hour

// A sample is how much was done at a moment.
type sample struct {
	at   time.Time
	done int64
}

// A state is what a display shows.
type state struct {
	label string // of the work, for people
	done  int64
	total int64   // zero if unknown
	rate  float64 // bytes a second
}

// left returns the time that the rest takes at the present rate, rounded up
// to seconds, and false if that cannot be told.
func (s state) left() (time.Duration, bool) {
	if s.total == 0 || s.rate <= 0 {
		return 0, false
	}
	seconds := float64(max(s.total-s.done, 0)) / s.rate
	if seconds >= maxLeft.Seconds() {
		return 0, false
	}
	left := time.Duration(seconds * float64(time.Second))
	return (left + time.Second - 1).Truncate(time.Second), true
}

// percent returns how much of the total is done, rounded down, 100 at most.
func (s state) percent() int {
	if s.total == 0 {
		return 0
	}
	return int(100 * (float64(min(s.done, s.total)) / float64(s.total)))
}

// A history keeps the samples of the last window and one that is older. Its
// size is bounded by the window and the time between two samples.
type history []sample

// add notes how much is done now and returns the rate since the oldest sample
// that is kept, in bytes a second.
func (h *history) add(now time.Time, done int64) float64 {
	samples := append(*h, sample{now, done})
	for len(samples) > 2 && now.Sub(samples[1].at) >= window {
		samples = samples[1:]
	}
	*h = samples
	seconds := now.Sub(samples[0].at).Seconds()
	if seconds <= 0 {
		return 0
	}
	return float64(done-samples[0].done) / seconds
}
