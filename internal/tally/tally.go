// Package tally keeps a log line that comes again and again from filling the log.
package tally

import (
	"sync"
	"time"
)

const (
	interval  = time.Minute
	maxKeys   = 128 // further keys share one, because part of a key may be chosen by clients
	maxLength = 256 // of a key that is kept
)

// A Tally says which lines to write. The zero value is ready for use, by many goroutines.
type Tally struct {
	mu    sync.Mutex
	lines map[string]line
}

type line struct {
	written time.Time
	left    int // lines left out since
}

// Note notes a line with a key. One a minute is to be written; repeats is how many were left out before it.
func (t *Tally) Note(key string) (repeats int, write bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	l, ok := t.lines[key]
	if !ok && (len(t.lines) >= maxKeys || len(key) > maxLength) {
		key = ""
		l, ok = t.lines[key]
	}
	if ok && now.Sub(l.written) < interval {
		l.left++
		t.lines[key] = l
		return 0, false
	}
	if t.lines == nil {
		t.lines = map[string]line{}
	}
	t.lines[key] = line{written: now}
	return l.left, true
}
