package protocol

import (
	"sync"
	"time"
)

// unknownTokens counts the tokens that were found nowhere, to tell a burst of them: somebody guesses, or the store
// has lost its records. It keeps no token, and a burst costs one notice a minute.
type unknownTokens struct {
	mu    sync.Mutex
	began time.Time // of the minute
	n     int       // in the minute
	total int       // since the last notice, as long as each minute is a burst
}

// unknownBurst is how many unknown tokens within a minute are a burst.
const unknownBurst = 100

// add counts one more. When the minute becomes a burst, it returns how many there have been since the last time.
func (u *unknownTokens) add() (burst int) {
	now := time.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if since := now.Sub(u.began); since >= time.Minute {
		if u.n < unknownBurst || since >= 2*time.Minute {
			u.total = 0
		}
		u.began, u.n = now, 0
	}
	u.n++
	u.total++
	if u.n != unknownBurst {
		return 0
	}
	burst, u.total = u.total, 0
	return burst
}
