package protocol

import (
	"hash/maphash"
	"sync"
	"time"
)

// relistInterval is how often a process that reads a session sees that it is listed.
const relistInterval = time.Minute

// relistPause is how long a process waits when the store could not tell. A store that takes no writes for the moment
// may be slow to say so, and would be asked by each read.
const relistPause = 10 * time.Second

// recentlyListed are the keys that this process has seen listed in the last relistInterval, or could not look at in the
// last relistPause. It forgets all of them when
// it is full, which costs a look at each.
type recentlyListed struct {
	mu   sync.Mutex
	seed maphash.Seed
	next map[uint64]time.Time // when to look again, by the hash of a key: of two with one hash, one is looked at later
}

const maxRecentlyListed = 1 << 16

func (r *recentlyListed) recently(key string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Until(r.next[maphash.String(r.seed, key)]) > 0
}

func (r *recentlyListed) note(key string) { r.lookAfter(key, relistInterval) }

// lookAfter sees that a key is not looked at for so long.
func (r *recentlyListed) lookAfter(key string, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.next) >= maxRecentlyListed || r.next == nil {
		r.next = map[uint64]time.Time{}
	}
	r.next[maphash.String(r.seed, key)] = time.Now().Add(d)
}

func (r *recentlyListed) forget(key string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.next, maphash.String(r.seed, key))
}
