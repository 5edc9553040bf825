// Package tally keeps what is told again and again from filling a log.
package tally

import (
	"maps"
	"sync"
	"time"
)

// A Tally lets one line of a kind through in a minute, and counts the others for the next one. The zero value is
// ready for use, by several goroutines at once.
type Tally struct {
	mu    sync.Mutex
	kinds map[string]kind
	swept time.Time // when old kinds were last forgotten
}

type kind struct {
	written time.Time // the last line
	repeats int       // since then
}

const (
	interval = time.Minute
	maxKinds = 1000 // that are remembered
)

// Note counts a line of a kind. It says whether to write it, and then how many were not written since the last one.
func (t *Tally) Note(name string) (repeats int, write bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.kinds[name]; !known && len(t.kinds) >= maxKinds-1 {
		if now.Sub(t.swept) >= interval {
			maps.DeleteFunc(t.kinds, func(_ string, k kind) bool { return now.Sub(k.written) >= interval })
			t.swept = now
		}
		if len(t.kinds) >= maxKinds-1 {
			name = "" // the last one, for all others
		}
	}
	if t.kinds == nil {
		t.kinds = map[string]kind{}
	}
	k := t.kinds[name]
	if now.Sub(k.written) < interval {
		k.repeats++
		t.kinds[name] = k
		return 0, false
	}
	t.kinds[name] = kind{written: now}
	return k.repeats, true
}
