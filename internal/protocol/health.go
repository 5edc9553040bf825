package protocol

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// A monitoredStore notes when the store ceases to answer and when it answers again, and makes a timeout the
// error that callers know.
//
// What an answer tells depends on the kind of call. A server that is full, or cannot save to its disk, still
// answers reads, and a full one also deletes: that does not end an outage of writes. Otherwise
// each request would begin another one.
type monitoredStore struct {
	store Store
	state atomic.Int32
}

// The states of a monitoredStore. They change with what a call returns:
//
//	answering, refusing → silent      no answer to a read
//	answering           → refusing    no answer to a write or a deletion
//	refusing            → answering   an answer to a write
//	silent              → answering   an answer to any call
//
// An outage lasts from when the state ceases to be answering until it is answering again.
const (
	answering int32 = iota
	refusing        // it refuses writes, and perhaps deletions
	silent          // it does not answer reads either
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

// noteAnswer changes the state by what a call has returned, and returns the error for the caller.
func (m *monitoredStore) noteAnswer(app Application, kind callKind, err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err // it tells nothing of the store
	case errors.Is(err, ErrUnavailable):
		// The store did not answer, and callers know the error.
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	default:
		state := m.state.Load()
		ended := state == silent || state == refusing && kind == storing
		if ended && m.state.CompareAndSwap(state, answering) {
			app.Notice(Notice{Kind: Recovered})
		}
		return err
	}
	if kind == reading {
		first := m.state.Swap(silent) == answering
		app.Notice(Notice{Kind: Unavailable, Err: err, First: first})
	} else {
		m.noteUnavailable(app, err)
	}
	return err
}

// noteUnavailable notes that a write or a deletion was not answered, or not sent because the write of another
// request was not answered.
func (m *monitoredStore) noteUnavailable(app Application, err error) {
	first := m.state.CompareAndSwap(answering, refusing)
	app.Notice(Notice{Kind: Unavailable, Err: err, First: first})
}
