//go:build !race

package bundle

// raceDetector tells whether tests take ten times as long.
const raceDetector = false
