//go:build race

package plan

// raced tells that the race detector is on, which makes everything slow.
const raced = true
