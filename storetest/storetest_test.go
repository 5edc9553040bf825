package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/typedsessions/sessions"
	"github.com/typedsessions/sessions/storetest"
)

// Every flaw a store may have, and the rules that catch it: these and no
// others, so that a failure tells what is wrong. S11? may: it takes a race
// that goes one way.
var flaws = []flaw{
	{"", ""},

	{"Load(0) persists", "S2 S4 S5 S6 S12"},
	{"Load(0) touches", "S2 S4 S5 S6 S12"},
	{"Load(-1) deletes", "S5"},
	{"Load of nothing gives nil", "S1 S3 S5 S6 S7 S8 S10 S11 S12 S13 S15"},
	{"Load of nothing gives another error", "S1 S3 S5 S6 S7 S8 S10 S11 S12 S13 S15"},
	{"Load of nothing is unavailable", "S1 S3 S5 S6 S7 S8 S10 S11 S12 S13 S15"},
	{"Load of nothing creates", "S1 S3 S6 S7 S8 S11? S12 S13 S15"},
	{"Load says nothing of what is left", "S2 S4 S5 S6 S10 S12 S13"},
	{"Load does not touch", "S6"},
	{"Load says touched and does not", "S6"},
	{"Load only lengthens the expiry", "S6"},
	{"Load touches by writing back", "S11"},
	{"Load shares bytes", "S9"},

	{"Create overwrites", "S2 S11"},
	{"Create of the same value succeeds", "S2"},
	{"Create on an existing key restarts its expiry", "S2"},
	{"Create keeps the bytes handed in", "S9"},
	{"Create checks and sets in two steps", "S11"},
	{"Create takes a ttl of 0", "S6"},
	{"Create never expires", "S2 S4 S5 S6 S7 S12"},
	{"Create finds the expired", "S7"},
	{"Create refuses empty data", "S2 S4 S10"},

	{"CompareAndSwap creates", "S3 S7 S8 S11? S13"},
	{"CompareAndSwap resurrects the expired", "S7"},
	{"CompareAndSwap ignores the prefix", "S4 S9 S10 S11 S15"},
	{"CompareAndSwap ignores the prefix of a delete", "S4 S10 S15"},
	{"CompareAndSwap compares the whole value", "S4 S6 S10 S15"},
	{"CompareAndSwap finds the prefix anywhere", "S4 S10"},
	{"CompareAndSwap takes a longer prefix", "S4 S10"},
	{"CompareAndSwap has no current value", "S4 S10 S11 S15"},
	{"CompareAndSwap shares the current value", "S9"},
	{"CompareAndSwap keeps the bytes handed in", "S9"},
	{"CompareAndSwap changes its arguments", "S9"},
	{"CompareAndSwap checks and sets in two steps", "S11"},
	{"CompareAndSwap leaves the expiry", "S6"},
	{"CompareAndSwap takes a ttl of 0", "S6"},
	{"CompareAndSwap with nil data stores an empty value", "S11 S15"},
	{"CompareAndSwap with empty data deletes", "S4 S10"},
	{"CompareAndSwap with nil data needs a ttl", "S7 S11 S15"},

	{"Delete of nothing is ErrNotFound", "S7 S8 S13"},
	{"Delete does nothing", "S8 S10 S11"},

	{"ttl rounded down to seconds", "S6"},
	{"ttl in milliseconds where seconds are meant", "S2 S4 S5 S6 S7 S12"},
	{"expiry is not checked", "S2 S4 S5 S6 S7 S12"},
	{"keys end at NUL", "S10"},
	{"keys are trimmed", "S10"},
	{"keys are valid UTF-8", "S10"},
	{"keys are case-insensitive", "S10"},
	{"keys are cut at 200 bytes", "S10"},
	{"values are valid UTF-8", "S10"},
	{"values end at NUL", "S10"},
	{"values are trimmed", "S10"},
	{"values of 64 KiB", "S10"},
	{"ignores the context", "S12"},
	{"writes, then looks at the context", "S12"},
	{"a done context is an outage", "S12"},
	{"ignores its prefix", "S13"},
	{"leaves a goroutine behind", "S14"},
	{"leaves a goroutine behind when cancelled", "S14"},
}

// A flaw is one, and the rules that it fails.
type flaw struct{ flaw, want string }

// The flawed stores fail in a process of their own.
const flawsEnv = "STORETEST_FLAWS"

func TestFlaws(t *testing.T) {
	t.Parallel()
	if os.Getenv(flawsEnv) != "" {
		for _, tc := range flaws {
			t.Run(tc.flaw, func(t *testing.T) {
				runFlawed(t, func(s *flawed) sessions.Store { s.flaw = tc.flaw; return s })
			})
		}
		return
	}
	testFlaws(t, flaws)
}

// testFlaws runs the test that calls it once more, where it fails.
func testFlaws(t *testing.T, flaws []flaw) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), flawsEnv+"=1")
	out, err := cmd.CombinedOutput()
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		t.Fatalf("the flawed stores: %v, want a failure\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("why: ")) {
		t.Error("no failure gives its reason")
	}
	ran, failed := make(map[string]int), make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		result, name, _ := strings.Cut(strings.TrimSpace(line), ": ")
		parts := strings.Split(name, "/")
		if len(parts) != 3 || !strings.HasPrefix(result, "--- ") {
			continue
		}
		ran[parts[1]]++
		rule, _, _ := strings.Cut(parts[2], "_")
		if result == "--- FAIL" && !slices.Contains(failed[parts[1]], rule) {
			failed[parts[1]] = append(failed[parts[1]], rule)
		}
	}
	for i, tc := range flaws {
		name := strings.ReplaceAll(tc.flaw, " ", "_")
		if name == "" {
			name = "#00"
		}
		if ran[name] != ran["#00"] || ran[name] == 0 {
			t.Errorf("%d: %q ran %d cases, the flawless store %d", i, tc.flaw, ran[name], ran["#00"])
		}
		slices.SortFunc(failed[name], func(a, b string) int {
			if len(a) != len(b) {
				return len(a) - len(b)
			}
			return strings.Compare(a, b)
		})
		want := strings.ReplaceAll(tc.want, "?", "")
		if !slices.Contains(failed[name], "S11") {
			want = strings.ReplaceAll(tc.want, "S11? ", "")
		}
		if got := strings.Join(failed[name], " "); got != want {
			t.Errorf("%q fails %q, want %q", tc.flaw, got, tc.want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

func runFlawed(t *testing.T, newStore func(*flawed) sessions.Store) {
	var last *server
	storetest.Run(t, storetest.Options{
		New: func(t *testing.T) sessions.Store {
			last = &server{entries: map[string]entry{}, indexes: map[string]*ownerIndex{}, quit: make(chan struct{})}
			t.Cleanup(func() { close(last.quit) })
			return newStore(&flawed{prefix: "a:", server: last})
		},
		Neighbour: func(*testing.T) sessions.Store { return newStore(&flawed{prefix: "b:", server: last}) },
		Wrap:      synctest.Test,
	})
}

// A flawed is a Store with one flaw, or none.
type flawed struct {
	flaw   string
	prefix string
	*server
}

type server struct {
	mu      sync.Mutex
	entries map[string]entry
	indexes map[string]*ownerIndex
	quit    chan struct{}
}

type entry struct {
	data    []byte
	expires time.Time // zero: never
}

var errOther = errors.New("another error")

func (s *flawed) has(flaw string) bool { return s.flaw == flaw }

func (s *flawed) key(key string) string {
	switch s.flaw {
	case "keys end at NUL":
		key, _, _ = strings.Cut(key, "\x00")
	case "keys are trimmed":
		key = strings.TrimSpace(key)
	case "keys are valid UTF-8":
		key = strings.ToValidUTF8(key, "\ufffd")
	case "keys are case-insensitive":
		key = strings.ToLower(key)
	case "keys are cut at 200 bytes":
		key = key[:min(len(key), 200)]
	case "ignores its prefix":
		return key
	}
	return s.prefix + key
}

func (s *flawed) value(data []byte) []byte {
	switch s.flaw {
	case "values are valid UTF-8":
		data = bytes.ToValidUTF8(data, []byte("\ufffd"))
	case "values end at NUL":
		data, _, _ = bytes.Cut(data, []byte{0})
	case "values are trimmed":
		data = bytes.TrimSpace(data)
	case "values of 64 KiB":
		data = data[:min(len(data), 64<<10)]
	}
	return bytes.Clone(data)
}

func (s *flawed) expiry(ttl time.Duration) time.Time {
	switch s.flaw {
	case "ttl rounded down to seconds":
		if ttl = ttl.Truncate(time.Second); ttl == 0 {
			return time.Time{}
		}
	case "ttl in milliseconds where seconds are meant":
		ttl *= 1000
	case "expiry is not checked":
		return time.Time{}
	}
	return time.Now().Add(ttl)
}

// begin locks the server, unless ctx is done.
func (s *flawed) begin(ctx context.Context) error {
	if s.has("leaves a goroutine behind") || s.has("leaves a goroutine behind when cancelled") && ctx.Err() != nil {
		go func() { <-s.quit }()
	}
	if s.has("a done context is an outage") && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", sessions.ErrUnavailable, ctx.Err())
	}
	if !s.has("ignores the context") && !s.has("writes, then looks at the context") && ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	return nil
}

func (s *flawed) end(ctx context.Context, err *error) {
	s.mu.Unlock()
	if s.has("writes, then looks at the context") && ctx.Err() != nil {
		*err = ctx.Err()
	}
}

// pause lets others in between two steps that should be one.
func (s *flawed) pause(flaw string) {
	if s.has(flaw) {
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
}

func (s *flawed) find(key string) (entry, bool) {
	e, ok := s.entries[key]
	return e, ok && (e.expires.IsZero() || time.Now().Before(e.expires))
}

func (s *flawed) Load(ctx context.Context, key string, touch time.Duration) (data []byte, left time.Duration, err error) {
	if err := s.begin(ctx); err != nil {
		return nil, 0, err
	}
	defer s.end(ctx, &err)
	key = s.key(key)
	e, ok := s.find(key)
	if !ok {
		switch s.flaw {
		case "Load of nothing gives nil":
			return nil, 0, nil
		case "Load of nothing gives another error":
			return nil, 0, errOther
		case "Load of nothing is unavailable":
			return nil, 0, fmt.Errorf("%w: %w", sessions.ErrUnavailable, sessions.ErrNotFound)
		case "Load of nothing creates":
			s.entries[key] = entry{nil, time.Now().Add(time.Hour)}
		}
		return nil, 0, sessions.ErrNotFound
	}
	left = time.Until(e.expires)
	if e.expires.IsZero() {
		left = -1
	}
	if touch < 0 && s.has("Load(-1) deletes") {
		delete(s.entries, key)
	}
	if touch == 0 && s.has("Load(0) persists") {
		e.expires, left = time.Time{}, -1
		s.entries[key] = e
	}
	if touch == 0 && s.has("Load(0) touches") {
		touch = 30 * time.Minute
	}
	if touch > 0 && !s.has("Load does not touch") && !(touch < left && s.has("Load only lengthens the expiry")) {
		s.pause("Load touches by writing back")
		left = touch
		if !s.has("Load says touched and does not") {
			e.expires = s.expiry(touch)
			s.entries[key] = e
		}
	}
	if s.has("Load says nothing of what is left") {
		left = 0
	}
	if s.has("Load shares bytes") {
		return e.data, left, nil
	}
	return bytes.Clone(e.data), left, nil
}

func (s *flawed) Create(ctx context.Context, key string, data []byte, ttl time.Duration) (err error) {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end(ctx, &err)
	key = s.key(key)
	if ttl <= 0 && !s.has("Create takes a ttl of 0") || len(data) == 0 && s.has("Create refuses empty data") {
		return errOther
	}
	e, ok := s.find(key)
	if s.has("Create finds the expired") {
		_, ok = s.entries[key]
	}
	switch {
	case s.has("Create overwrites"):
	case ok && s.has("Create of the same value succeeds") && bytes.Equal(e.data, data):
		return nil
	case ok:
		if s.has("Create on an existing key restarts its expiry") {
			s.entries[key] = entry{e.data, s.expiry(ttl)}
		}
		return sessions.ErrExists
	}
	s.pause("Create checks and sets in two steps")
	e = entry{s.value(data), s.expiry(ttl)}
	if ttl <= 0 || s.has("Create never expires") {
		e.expires = time.Time{}
	}
	if s.has("Create keeps the bytes handed in") {
		e.data = data
	}
	s.entries[key] = e
	return nil
}

func (s *flawed) CompareAndSwap(ctx context.Context, key string, prefix, data []byte, ttl time.Duration) (current []byte, err error) {
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	defer s.end(ctx, &err)
	key = s.key(key)
	if ttl <= 0 && (data != nil && !s.has("CompareAndSwap takes a ttl of 0") || s.has("CompareAndSwap with nil data needs a ttl")) {
		return nil, errOther
	}
	e, ok := s.find(key)
	if s.has("CompareAndSwap resurrects the expired") {
		e, ok = s.entries[key]
	}
	if !ok && !(data != nil && s.has("CompareAndSwap creates")) {
		return nil, sessions.ErrNotFound
	}
	match := bytes.HasPrefix(e.data, prefix)
	switch s.flaw {
	case "CompareAndSwap creates":
		match = match || !ok
	case "CompareAndSwap ignores the prefix":
		match = true
	case "CompareAndSwap ignores the prefix of a delete":
		match = match || data == nil
	case "CompareAndSwap compares the whole value":
		match = bytes.Equal(e.data, prefix)
	case "CompareAndSwap finds the prefix anywhere":
		match = bytes.Contains(e.data, prefix)
	case "CompareAndSwap takes a longer prefix":
		match = match || bytes.HasPrefix(prefix, e.data)
	}
	if !match {
		switch s.flaw {
		case "CompareAndSwap has no current value":
			return nil, sessions.ErrConflict
		case "CompareAndSwap shares the current value":
			return e.data, sessions.ErrConflict
		}
		return bytes.Clone(e.data), sessions.ErrConflict
	}
	s.pause("CompareAndSwap checks and sets in two steps")
	if data == nil || len(data) == 0 && s.has("CompareAndSwap with empty data deletes") {
		if !s.has("CompareAndSwap with nil data stores an empty value") {
			delete(s.entries, key)
			return nil, nil
		}
		ttl = time.Hour
	}
	e.data = s.value(data)
	if s.has("CompareAndSwap keeps the bytes handed in") {
		e.data = data
	}
	if !s.has("CompareAndSwap leaves the expiry") {
		e.expires = s.expiry(ttl)
	}
	if s.has("CompareAndSwap changes its arguments") {
		clear(prefix)
	}
	s.entries[key] = e
	return nil, nil
}

func (s *flawed) Delete(ctx context.Context, key string) (err error) {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end(ctx, &err)
	key = s.key(key)
	if _, ok := s.find(key); !ok && s.has("Delete of nothing is ErrNotFound") {
		return sessions.ErrNotFound
	}
	if !s.has("Delete does nothing") {
		delete(s.entries, key)
	}
	return nil
}
