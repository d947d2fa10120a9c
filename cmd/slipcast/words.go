package main

import (
	"fmt"
	"time"

	"slipcast/internal/progress"
)

// count says how many things there are: "1 chunk", "2 chunks".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// briefest is the shortest time from which a speed is told. Below it the
// start of the program is most of what is measured.
const briefest = 100 * time.Millisecond

// speed says how long work on so many bytes took, and how fast that is.
func speed(bytes int64, took time.Duration) string {
	text := progress.Duration(took)
	if took < briefest {
		return text
	}
	return fmt.Sprintf("%s (%s/s)", text, progress.Bytes(int64(float64(bytes)/took.Seconds())))
}
