//go:build race

package trust

// raceDetector tells whether tests take several times the memory.
const raceDetector = true
