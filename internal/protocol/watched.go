package protocol

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// A watchList has the sessions of a Manager that are watched. While there are any, one goroutine reads all of them from
// the store at each interval. Notifications of a store can get lost, and a timer of its own would be needed for each.
type watchList struct {
	mu    sync.Mutex
	byKey map[string]*watched // nil when there is none: a map never shrinks
	stop  context.CancelFunc  // of the goroutine, which runs exactly while byKey is not nil
}

// A watched is one session under one key, however many watchers it has. The list's mu guards it.
type watched struct {
	key      string
	id       string
	owner    string    // by whose index it may be found
	end      time.Time // of its Lifetime, as far as is known; zero without one
	moved    bool      // it was renewed to this key, and nobody has looked yet whose it is there
	writing  int       // writes of this process that may renew it, and of which the list has not heard yet
	watchers map[*watcher]bool
}

// A watcher is one call of Watch.
type watcher struct {
	of    *watched // nil when it has ended
	owner string   // whose the session was at Watch, or has become since it was nobody's
	ended func()
}

// update changes the session that is watched under a key, if there is one, and ends the watchers that change returns.
// They are told without the lock, because they may do anything.
func (l *watchList) update(key string, change func(*watched) []*watcher) {
	var ended []*watcher
	l.mu.Lock()
	if w := l.byKey[key]; w != nil {
		ended = change(w)
	}
	for _, w := range ended {
		l.remove(w)
	}
	l.mu.Unlock()
	for _, w := range ended {
		w.ended()
	}
}

// remove takes out a watcher, and with the last one its session, and the goroutine. mu is held.
func (l *watchList) remove(w *watcher) {
	at := w.of
	if at == nil {
		return
	}
	w.of = nil
	if delete(at.watchers, w); len(at.watchers) > 0 {
		return
	}
	if delete(l.byKey, at.key); len(l.byKey) == 0 {
		l.stop()
		l.byKey = nil
	}
}

// move notes that a session was renewed. It returns the one that is watched under the other key. mu is held.
func (l *watchList) move(w *watched, key string) *watched {
	delete(l.byKey, w.key)
	to := l.byKey[key]
	if to == nil {
		w.key, to = key, w
		l.byKey[key] = to
	} else {
		for one := range w.watchers {
			one.of, to.watchers[one] = to, true
		}
	}
	to.moved = true
	return to
}

func (w *watched) all() []*watcher { return slices.Collect(maps.Keys(w.watchers)) }

// check notes whose session it is since it was renewed, and when its Lifetime ends. It returns the watchers for whom it
// has become another user's. mu is held.
func (w *watched) check(owner string, end time.Time) (ended []*watcher) {
	w.owner, w.end, w.moved = owner, end, false
	for one := range w.watchers {
		if one.owner != "" && one.owner != owner {
			ended = append(ended, one)
		} else {
			one.owner = owner
		}
	}
	return ended
}

// A look is one at a watched session, as it was known when the look began.
type look struct {
	key, id, owner string
	full           bool   // the beginning of the record will not do
	raw            []byte // what is stored, or the beginning of it; nil if nothing is
}

// look is one at the session. mu is held.
func (w *watched) look() look {
	return look{key: w.key, id: w.id, owner: w.owner, full: w.moved || !w.end.IsZero() && !time.Now().Before(w.end)}
}

func (l *watchList) looks() (all []look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.byKey {
		all = append(all, w.look())
	}
	return all
}
