package protocol

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// Watch calls ended, from any goroutine, when the session of s has ended: at the latest a WatchInterval and the time of an
// answer later. owner is that of the T that is stored. stop may come too late for a session that has just ended.
func (e *Engine) Watch(app Application, s *Session, owner string, ended func()) (stop func()) {
	l, w := &e.watches, &watcher{owner: owner, ended: ended}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKey == nil {
		l.byKey = map[string]*watched{}
		var ctx context.Context
		ctx, l.stop = context.WithCancel(context.Background())
		go e.watch(ctx, app)
	}
	if w.of = l.byKey[s.Key]; w.of == nil {
		w.of = &watched{
			key: s.Key, id: string(s.Record.ID), owner: owner, end: e.endOf(&s.Record), watchers: map[*watcher]bool{},
		}
		l.byKey[s.Key] = w.of
	}
	w.of.watchers[w] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.remove(w)
	}
}

// WatchWrite says that this process begins a write that may renew the session under a key, and done that WatchRenewed
// has been told. A Layout without marks leaves nothing under the key meanwhile, and that is no end.
func (e *Engine) WatchWrite(key string) (done func()) {
	l := &e.watches
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.byKey[key]
	if w == nil {
		return func() {}
	}
	w.writing++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		w.writing--
	}
}

// WatchRenewed tells the watchers of a key that this process has renewed the session, which now is s: a Layout without
// marks leaves nothing to follow.
func (e *Engine) WatchRenewed(key string, s *Session, owner string) {
	e.watches.update(key, func(w *watched) []*watcher {
		return e.watches.move(w, s.Key).check(owner, e.endOf(&s.Record))
	})
}

// WatchEnded tells the watchers of a key that this process has ended the session.
func (e *Engine) WatchEnded(key string) {
	e.watches.update(key, (*watched).all)
}

func (e *Engine) endOf(rec *record.Record) time.Time {
	return e.Timeouts(rec.Remembered).End(rec.Created)
}

// watch looks at all watched sessions at each interval, until ctx ends.
func (e *Engine) watch(ctx context.Context, app Application) {
	ticker := time.NewTicker(e.WatchInterval)
	defer ticker.Stop()
	r := watchRound{Engine: e, ctx: ctx, app: app, markSize: e.markSize()}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.run()
		}
	}
}

// markSize is a length that no mark has. What is longer is the record of a session.
func (e *Engine) markSize() int {
	longest := func(n int) []byte { return bytes.Repeat([]byte{'x'}, n) }
	mark := record.Record{ID: longest(100), Created: time.Now(), Successor: longest(200)}
	for i := range mark.Writes {
		mark.Writes[i] = longest(32)
	}
	raw, _ := e.Layout.Seal(mark) // nil for a Layout without marks
	return max(1<<10, len(raw)+1)
}

// A watchRound looks at all watched sessions once. An error of the store ends it, and all that was not answered stays as it
// is: an outage ends no session.
type watchRound struct {
	*Engine
	ctx            context.Context
	app            Application
	markSize       int
	again, missing []look
}

const (
	maxLoadMany = 10_000 // keys of one call, so that its answer comes within the time of one
	maxAtOnce   = 16     // calls, where there is one for each key
)

func (r *watchRound) run() {
	looks := r.watches.looks() // in another order each time, so that a key for which the store fails hides no other for long
	for try, first := 0, r.markSize; len(looks) > 0 && try <= maxMarks; try, first = try+1, 0 {
		r.again, r.missing = nil, nil
		for some := range slices.Chunk(looks, r.loadsAtOnce()) {
			if r.load(some, first) != nil {
				return
			}
			for _, l := range some {
				r.judge(l, first)
			}
		}
		for some := range slices.Chunk(r.missing, maxAtOnce) {
			if r.find(some) != nil {
				return
			}
		}
		looks = r.again
	}
}

// judge says what the answer means for the session.
func (r *watchRound) judge(l look, first int) {
	if first > 0 && len(l.raw) >= first {
		if l.full {
			r.again = append(r.again, l)
		}
		return
	}
	if l.raw == nil {
		r.missing = append(r.missing, l)
		return
	}
	rec, err := r.openRecord(l.raw)
	dated := !rec.Created.IsZero() // or the header could not be read, or the Layout keeps no time
	switch {
	case errors.Is(err, ErrNotFound):
		r.missing = append(r.missing, l)
	case err == nil && rec.IsMark():
		r.follow(l.key, string(rec.Successor))
	case dated && r.timeIsUp(&rec):
		r.WatchEnded(l.key)
	case l.full && (err == nil || dated):
		owner := r.OwnerOf(rec)
		r.watches.update(l.key, func(w *watched) []*watcher { return w.check(owner, r.endOf(&rec)) })
	}
}

// follow looks for the session under the key to which it was renewed.
func (r *watchRound) follow(from, to string) {
	r.watches.update(from, func(w *watched) []*watcher {
		r.again = append(r.again, r.watches.move(w, to).look())
		return nil
	})
}

// find looks for missing sessions in the indexes of their owners: a mark lives for ten seconds only, and an outage may
// have been longer. What is not there has ended.
func (r *watchRound) find(missing []look) error {
	keys := make([]string, len(missing))
	err := atOnce(missing, func(i int, l look) (err error) {
		if r.Listed(l.key, l.owner) {
			keys[i], err = r.indexedKey(l)
		}
		return err
	})
	for i, l := range missing {
		switch {
		case err != nil:
		case keys[i] == "" || keys[i] == l.key:
			r.watches.update(l.key, func(w *watched) []*watcher {
				if w.writing > 0 {
					return nil
				}
				return w.all()
			})
		default:
			r.follow(l.key, keys[i])
		}
	}
	return err
}

// indexedKey is the key of the session by the index of its owner, or "".
func (r *watchRound) indexedKey(l look) (string, error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.Timeout)
	defer cancel()
	index, tag := r.indexOf(l.owner)
	members, err := r.store.Members(ctx, r.app, index)
	for _, m := range members {
		if id, key, ok := record.ReadMember(m, tag); ok && id == l.id {
			return key, nil
		}
	}
	return "", err
}

// A manyLoader is an OwnerStore, as far as it is needed for sessions that have no owner either.
type manyLoader interface {
	LoadMany(ctx context.Context, keys []string, first int) (data [][]byte, left []time.Duration, err error)
}

func (r *watchRound) loadsAtOnce() int {
	if _, ok := r.Store.(manyLoader); ok {
		return maxLoadMany
	}
	return maxAtOnce
}

// load reads what is stored under the keys of looks, and restarts no expiry.
func (r *watchRound) load(looks []look, first int) error {
	if store, ok := r.Store.(manyLoader); ok {
		ctx, cancel := context.WithTimeout(r.ctx, r.Timeout)
		defer cancel()
		keys := make([]string, len(looks))
		for i, l := range looks {
			keys[i] = l.key
		}
		data, _, err := store.LoadMany(ctx, keys, first)
		if err = r.store.noteAnswer(r.app, reading, err); err == nil {
			for i := range looks {
				looks[i].raw = data[i]
			}
		}
		return err
	}
	return atOnce(looks, func(i int, l look) error {
		ctx, cancel := context.WithTimeout(r.ctx, r.Timeout)
		defer cancel()
		raw, _, err := r.store.Load(ctx, r.app, l.key, 0)
		if err == nil && raw == nil {
			raw = []byte{}
		}
		looks[i].raw = raw
		return unlessMissing(err)
	})
}

// atOnce calls f for all looks at once, and returns its errors.
func atOnce(looks []look, f func(i int, l look) error) error {
	errs := make([]error, len(looks))
	var all sync.WaitGroup
	for i, l := range looks {
		all.Go(func() { errs[i] = f(i, l) })
	}
	all.Wait()
	return errors.Join(errs...)
}
