package kit

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
)

// Events keeps events, but for those of loads, of which each request has one. The zero value is ready for use; its On is
// a Config's OnEvent.
type Events struct {
	mu     sync.Mutex
	events []sessions.Event
}

// On keeps e.
func (r *Events) On(_ context.Context, e sessions.Event) {
	if IsLoad(e) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// IsLoad tells whether e is the event that ends a load.
func IsLoad(e sessions.Event) bool {
	return e.Kind == sessions.EventLoaded || e.Kind == sessions.EventNotFound
}

// Take returns the events so far, in order, and forgets them.
func (r *Events) Take() []sessions.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

// Kinds is Take, of each event its kind.
func (r *Events) Kinds() []sessions.EventKind {
	var kinds []sessions.EventKind
	for _, e := range r.Take() {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// Want compares Kinds.
func (r *Events) Want(t testing.TB, want ...sessions.EventKind) {
	t.Helper()
	if got := r.Kinds(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// Log keeps lines: those of its Logger, and what is written to it. The zero
// value is ready for use.
type Log struct {
	mu    sync.Mutex
	lines []string
}

// Write keeps a line.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// Logger is one that writes to l at every level, without the time: a line is like
// level=WARN msg="sessions: …" key=value.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}}))
}

// Take returns the lines so far, in order, and forgets them.
func (l *Log) Take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.lines
	l.lines = nil
	return lines
}
