//go:build !race

package plan

// raceDetector tells whether tests take ten times as long.
const raceDetector = false
