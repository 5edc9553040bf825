package protocol_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/typedsessions/sessions/internal/protocol"
)

// memory is a store of the bubble's clock.
type memory struct {
	layout layout // to print what is stored

	mu      sync.Mutex
	entries map[string]entry
}

type entry struct {
	data    []byte
	expires time.Time
}

var errTTL = errors.New("a ttl that is not positive")

// found returns what is under key, if its time is not up. mu is held.
func (m *memory) found(key string) (entry, bool) {
	e, ok := m.entries[key]
	return e, ok && e.expires.After(time.Now())
}

func (m *memory) Load(ctx context.Context, key string, touch time.Duration) ([]byte, time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.found(key)
	switch {
	case ctx.Err() != nil:
		return nil, 0, ctx.Err()
	case !ok:
		return nil, 0, protocol.ErrNotFound
	case touch > 0:
		e.expires = time.Now().Add(touch)
		m.entries[key] = e
	}
	return bytes.Clone(e.data), time.Until(e.expires), nil
}

func (m *memory) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.found(key)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case ttl <= 0:
		return errTTL
	case ok:
		return protocol.ErrExists
	}
	m.entries[key] = entry{bytes.Clone(data), time.Now().Add(ttl)}
	return nil
}

func (m *memory) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.found(key)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case data != nil && ttl <= 0:
		return nil, errTTL
	case !ok:
		return nil, protocol.ErrNotFound
	case !bytes.HasPrefix(e.data, prefix):
		return bytes.Clone(e.data), protocol.ErrConflict
	case data == nil:
		delete(m.entries, key)
		return nil, nil
	}
	m.entries[key] = entry{bytes.Clone(data), time.Now().Add(ttl)}
	return nil, nil
}

func (m *memory) Delete(ctx context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx.Err() == nil {
		delete(m.entries, key)
	}
	return ctx.Err()
}

// String says what is stored: "old=ab", and "old>new" for a mark that names the key new.
func (m *memory) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var words []string
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		if e, ok := m.found(key); ok {
			words = append(words, key+m.content(e.data))
		}
	}
	return strings.Join(words, " ")
}

func (m *memory) content(data []byte) string {
	r, err := m.layout.Open(data)
	switch {
	case err != nil:
		return "=" + fmt.Sprintf("%q", data)
	case r.IsMark():
		return ">" + string(r.Successor)
	case len(r.Payload) > 20:
		return "=large"
	}
	return "=" + string(r.Payload)
}

// ttls is how long everything stays, in the order of the keys.
func (m *memory) ttls() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var words []string
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		words = append(words, fmt.Sprint(key, " ", time.Until(m.entries[key].expires)))
	}
	return strings.Join(words, ", ")
}

// A script is a store that notes each command and lets a row decide what happens around it. A command is a
// word and a key:
//
//	load old    read it; followed by a time, if that is the new expiry and not the idle timeout
//	touch old   read it and restart its idle timeout
//	create new  store it, if nothing is there
//	swap old    replace it by other data, if it is what was expected
//	mark old    replace it by a mark, if it is what was expected
//	delete old  delete it, if it is what was expected
//	drop new    delete it, whatever it is
type script struct {
	*memory
	fx     *fixture
	idle   time.Duration
	events events

	mu    sync.Mutex
	log   []string
	times map[string]int
}

// events are what happens around commands, by the command; "swap old #2" is the second one of its kind,
// "swap old *" each one.
type events map[string]event

// An event happens around a command, which apply applies.
type event func(fx *fixture, ctx context.Context, apply func() error) error

// roundTrip is what a command takes.
const roundTrip = time.Millisecond

func (s *script) run(ctx context.Context, command string, apply func() error) error {
	s.mu.Lock()
	s.log = append(s.log, command)
	s.times[command]++
	name := command
	if n := s.times[command]; n > 1 {
		name = fmt.Sprint(command, " #", n)
	}
	happens, ok := s.events[name]
	if ok {
		delete(s.events, name)
	} else {
		happens = s.events[command+" *"]
	}
	s.mu.Unlock()
	time.Sleep(roundTrip)
	if happens == nil {
		return apply()
	}
	return happens(s.fx, ctx, apply)
}

// take returns the commands since the last call.
func (s *script) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := strings.Join(s.log, ", ")
	s.log, s.times = nil, map[string]int{}
	return log
}

func (s *script) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	command := "load " + key
	switch {
	case touch == s.idle:
		command = "touch " + key
	case touch != 0:
		command = fmt.Sprint("touch ", key, " ", touch)
	}
	err = s.run(ctx, command, func() (err error) {
		data, left, err = s.memory.Load(ctx, key, touch)
		return err
	})
	if s.fx.readOnly && err == nil && touch > 0 {
		left = s.idle / 3
	}
	return data, left, err
}

func (s *script) Create(ctx context.Context, key string, data []byte, ttl time.Duration) error {
	return s.run(ctx, "create "+key, func() error { return s.memory.Create(ctx, key, data, ttl) })
}

func (s *script) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	command := "swap " + key
	if data == nil {
		command = "delete " + key
	} else if r, err := s.layout.Open(data); err == nil && r.IsMark() {
		command = "mark " + key
	}
	err = s.run(ctx, command, func() (err error) {
		current, err = s.memory.CompareAndSwap(ctx, key, prefix, data, ttl)
		return err
	})
	return current, err
}

func (s *script) Delete(ctx context.Context, key string) error {
	return s.run(ctx, "drop "+key, func() error { return s.memory.Delete(ctx, key) })
}

// before is what others do before the command.
func before(acts ...act) event {
	return func(fx *fixture, _ context.Context, apply func() error) error {
		fx.others(acts)
		return apply()
	}
}

// after is what others do between the command and its reply.
func after(acts ...act) event {
	return func(fx *fixture, _ context.Context, apply func() error) error {
		err := apply()
		fx.others(acts)
		return err
	}
}

// repeated: the reply is lost, others do something, and the client of the store sends the command again.
func repeated(acts ...act) event {
	return func(fx *fixture, _ context.Context, apply func() error) error {
		_ = apply()
		fx.others(acts)
		return apply()
	}
}

// lost: the command is applied, and the caller is told that nobody answered.
func lost(_ *fixture, _ context.Context, apply func() error) error {
	_ = apply()
	return fmt.Errorf("%w: no reply", protocol.ErrUnavailable)
}

// notApplied: the command is not applied, and the caller is told that nobody answered.
func notApplied(*fixture, context.Context, func() error) error {
	return fmt.Errorf("%w: no connection", protocol.ErrUnavailable)
}

// full: the store answers that it does not store, and applies nothing.
func full(*fixture, context.Context, func() error) error {
	return fmt.Errorf("%w: OOM", protocol.ErrRefused)
}

var errBroken = errors.New("an error of no type")

// broken: the store answers with an error that has no type.
func broken(*fixture, context.Context, func() error) error { return errBroken }

// hangs: the store does not answer for so long as the caller waits.
func hangs(_ *fixture, ctx context.Context, _ func() error) error {
	<-ctx.Done()
	return ctx.Err()
}

// takes: the command takes that long, if the caller waits for so long.
func takes(d time.Duration) event {
	return func(_ *fixture, ctx context.Context, apply func() error) error {
		select {
		case <-time.After(d):
			return apply()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// slow: the reply takes that long, and the caller waits; others act before.
func slow(d time.Duration, acts ...act) event {
	return func(fx *fixture, _ context.Context, apply func() error) error {
		fx.others(acts)
		err := apply()
		time.Sleep(d)
		return err
	}
}
