//go:build race

package kit

// RaceEnabled says whether the race detector watches.
const RaceEnabled = true
