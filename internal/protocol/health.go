package protocol

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A monitoredStore notes when the store ceases to answer and when it answers again, and makes a timeout
// the error that callers know.
//
// It goes by what a call is. A server that is full, or read-only, or without its replicas still answers
// reads, and a full one also deletes: that does not end an outage of writes. Otherwise each request would
// begin another one.
type monitoredStore struct {
	store Store
	state atomic.Int32
}

// The states of a monitoredStore.
const (
	answering int32 = iota
	refusing        // at least writes
	silent          // reads too
)

// A callKind is what a call to the store is.
type callKind int

const (
	reading callKind = iota
	replacing
	deleting
)

func (m *monitoredStore) Load(ctx context.Context, app Application, key string, touch time.Duration) ([]byte, time.Duration, error) {
	data, left, err := m.store.Load(ctx, key, touch)
	return data, left, m.check(app, reading, err)
}

func (m *monitoredStore) Create(ctx context.Context, app Application, key string, data []byte, ttl time.Duration) error {
	return m.check(app, replacing, m.store.Create(ctx, key, data, ttl))
}

func (m *monitoredStore) CompareAndSwap(ctx context.Context, app Application, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	current, err := m.store.CompareAndSwap(ctx, key, prefix, data, ttl)
	return current, m.check(app, replacing, err)
}

func (m *monitoredStore) CompareAndDelete(ctx context.Context, app Application, key string, prefix []byte) ([]byte, error) {
	current, err := m.store.CompareAndSwap(ctx, key, prefix, nil, 0)
	return current, m.check(app, deleting, err)
}

func (m *monitoredStore) Delete(ctx context.Context, app Application, key string) error {
	return m.check(app, deleting, m.store.Delete(ctx, key))
}

// check judges what a call has returned.
func (m *monitoredStore) check(app Application, kind callKind, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, ErrUnavailable):
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		state := m.state.Load()
		ended := state == silent || state == refusing && kind == replacing
		if ended && m.state.CompareAndSwap(state, answering) {
			app.Notice(Notice{Kind: Recovered})
		}
		return err
	}
	first := false
	if kind == reading {
		first = m.state.Swap(silent) == answering
	} else {
		first = m.state.CompareAndSwap(answering, refusing)
	}
	app.Notice(Notice{Kind: Unavailable, Err: err, First: first})
	return err
}
