package protocol

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/typedsessions/sessions/internal/record"
)

// A monitoredStore notes when the store ceases to answer and when it answers again, and makes a timeout the
// error that callers know.
//
// There is one outage for each cause. A store may fail for one key and answer for the others, a dead shard or a
// key of another type, so one answer ends nothing: an outage has ended when its cause has not come for quietTime
// and then a call is answered. Otherwise each such key would begin and end an outage with each request.
type monitoredStore struct {
	store  Store
	owners OwnerStore   // nil where no index is kept
	open   atomic.Int32 // the number of outages, so that a store that answers needs no lock

	mu      sync.Mutex
	outages map[string]*outage // by cause
}

// An outage is one that has not ended.
type outage struct {
	began, last time.Time // its first and its last failed call
	repeats     int       // the failed calls after the first
	reads       bool      // reads have failed
}

const (
	quietTime  = 10 * time.Second
	maxOutages = 16 // at once; further causes are one
)

// A callKind is the kind of a call to the store.
type callKind int

const (
	reading callKind = iota
	storing
	deleting
)

func (m *monitoredStore) Load(ctx context.Context, app Application, key string, touch time.Duration) ([]byte, time.Duration, error) {
	data, left, err := m.store.Load(ctx, key, touch)
	return data, left, m.noteAnswer(app, reading, err)
}

func (m *monitoredStore) Create(ctx context.Context, app Application, key string, data []byte, ttl time.Duration) error {
	return m.noteAnswer(app, storing, m.store.Create(ctx, key, data, ttl))
}

func (m *monitoredStore) CompareAndSwap(ctx context.Context, app Application, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	current, err := m.store.CompareAndSwap(ctx, key, prefix, data, ttl)
	return current, m.noteAnswer(app, storing, err)
}

func (m *monitoredStore) CompareAndDelete(ctx context.Context, app Application, key string, prefix []byte) ([]byte, error) {
	current, err := m.store.CompareAndSwap(ctx, key, prefix, nil, 0)
	return current, m.noteAnswer(app, deleting, err)
}

func (m *monitoredStore) Delete(ctx context.Context, app Application, key string) error {
	return m.noteAnswer(app, deleting, m.store.Delete(ctx, key))
}

func (m *monitoredStore) LoadMany(ctx context.Context, app Application, keys []string, first int) ([][]byte, []time.Duration, error) {
	data, left, err := m.owners.LoadMany(ctx, keys, first)
	return data, left, m.noteAnswer(app, reading, err)
}

func (m *monitoredStore) Members(ctx context.Context, app Application, index string) ([]string, error) {
	members, err := m.owners.Members(ctx, index)
	return members, m.noteAnswer(app, reading, err)
}

func (m *monitoredStore) Place(ctx context.Context, app Application, p record.Placement) (record.Placed, error) {
	kind := storing
	if p.New == "" && p.OldData == nil {
		kind = deleting
	}
	placed, err := m.owners.Place(ctx, p)
	return placed, m.noteAnswer(app, kind, err)
}

func (m *monitoredStore) Relist(ctx context.Context, app Application, index, key string, prefix []byte, member string, created time.Time, ttl time.Duration) error {
	return m.noteAnswer(app, storing, m.owners.Relist(ctx, index, key, prefix, member, created, ttl))
}

func (m *monitoredStore) Revoke(ctx context.Context, app Application, index string, at time.Time, ttl time.Duration) error {
	return m.noteAnswer(app, storing, m.owners.Revoke(ctx, index, at, ttl))
}

func (m *monitoredStore) End(ctx context.Context, app Application, index string, members, keys []string) ([]string, error) {
	ended, err := m.owners.End(ctx, index, members, keys)
	return ended, m.noteAnswer(app, deleting, err)
}

// noteAnswer notes what a call has returned, and returns the error for the caller.
func (m *monitoredStore) noteAnswer(app Application, kind callKind, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err // it tells nothing of the store
	case errors.Is(err, ErrUnavailable):
		// The store did not answer, and callers know the error.
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		if m.open.Load() > 0 {
			for _, o := range m.ended(kind) {
				app.Notice(Notice{Kind: Recovered, Outage: o})
			}
		}
		return err
	}
	app.Notice(Notice{Kind: Unavailable, Err: err, Outage: m.failed(kind, causeOf(err))})
	return err
}

// failed notes a failed call and returns its outage.
func (m *monitoredStore) failed(kind callKind, cause string) *Outage {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	o, known := m.outages[cause]
	if !known && len(m.outages) >= maxOutages-1 {
		cause = "other"
		o, known = m.outages[cause]
	}
	if !known {
		o = &outage{began: now}
		if m.outages == nil {
			m.outages = map[string]*outage{}
		}
		m.outages[cause] = o
		m.open.Add(1)
	} else {
		o.repeats++
	}
	o.last, o.reads = now, o.reads || kind == reading
	return &Outage{Cause: cause, First: !known}
}

// ended returns the outages that an answer to a call of this kind has ended.
//
// What an answer tells depends on the kind. A server that is full, or read-only, or without its replicas still
// answers reads, and a full one also deletes: that does not end an outage of writes.
func (m *monitoredStore) ended(kind callKind) (ended []*Outage) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for cause, o := range m.outages {
		if now.Sub(o.last) >= quietTime && (o.reads || kind == storing) {
			ended = append(ended, &Outage{Cause: cause, Repeats: o.repeats, Lasted: o.last.Sub(o.began)})
			delete(m.outages, cause)
			m.open.Add(-1)
		}
	}
	return ended
}

// causeOf is the class of an error: the word in capitals with which a Redis server begins its answer (OOM,
// CLUSTERDOWN), wherever it stands in the text, or else that there was no answer.
func causeOf(err error) string {
	for part := range strings.SplitSeq(err.Error(), ": ") {
		word, _, _ := strings.Cut(part, " ")
		if len(word) > 2 && word != "EOF" && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "" {
			return word
		}
	}
	return "no answer"
}
