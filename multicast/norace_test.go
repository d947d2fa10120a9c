//go:build !race

package multicast

// raceDetector tells whether tests take ten times as long.
const raceDetector = false
