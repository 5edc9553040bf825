package sessions_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/typedsessions/sessions"
)

// desk is a Manager with one handler after the other, on a Recorder.
type desk struct {
	*sessions.Manager[Session]
	t testing.TB
}

func newDesk(t testing.TB, store sessions.Store, cfg sessions.Config) desk {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := sessions.New[Session](store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return desk{m, t}
}

// ask sends an https request with these Cookie lines to a handler.
func (d desk) ask(f func(w http.ResponseWriter, r *http.Request), cookies ...string) *http.Response {
	r := httptest.NewRequest("GET", "https://example.com/", nil)
	if len(cookies) > 0 {
		r.Header["Cookie"] = cookies
	}
	return d.send(r, f)
}

func (d desk) send(r *http.Request, f func(w http.ResponseWriter, r *http.Request)) *http.Response {
	w := httptest.NewRecorder()
	d.Handler(http.HandlerFunc(f)).ServeHTTP(w, r)
	return w.Result()
}

// seed stores a session with these views and returns its token.
func (d desk) seed(views int) string {
	d.t.Helper()
	ctx, err := d.Load(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	d.FromContext(ctx).Views = views
	o, err := d.Commit(ctx)
	if err != nil || o.Kind != sessions.OutcomeCreated {
		d.t.Fatalf("seeding: %v, %v", o.Kind, err)
	}
	return o.Token.Reveal()
}

// views reads what a token gives, 0 for nothing.
func (d desk) views(tokens ...string) int {
	d.t.Helper()
	ctx, err := d.Load(context.Background(), tokens...)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.FromContext(ctx).Views
}

func noHandler(http.ResponseWriter, *http.Request) {}

func viewOnce(_ http.ResponseWriter, r *http.Request) {
	sessions.FromContext[Session](r.Context()).Views++
}

// logBook keeps what a Logger is told, one line for each record.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

func (b *logBook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func (b *logBook) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.lines
	b.lines = nil
	return lines
}

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// bench is a Manager, its store and its events.
type bench struct {
	desk
	ops    *opLog
	store  *stepStore
	events *recorder
	log    *logBook
}

func newBench(t testing.TB, cfg sessions.Config) *bench {
	b := &bench{events: &recorder{}, log: &logBook{}}
	ops, store := newOpLog()
	b.ops, b.store = ops, store.(*stepStore)
	if cfg.OnEvent == nil {
		cfg.OnEvent = b.events.on
	}
	cfg.Logger = b.log.logger()
	b.desk = newDesk(t, store, cfg)
	return b
}

// seeded is seed, with the store's and the recorder's memory cleared.
func (b *bench) seeded(views int) string {
	b.t.Helper()
	token := b.seed(views)
	b.ops.take()
	b.events.kinds()
	return token
}

func (b *bench) wantEvents(t *testing.T, want ...sessions.EventKind) {
	t.Helper()
	if got := b.events.kinds(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func (b *bench) wantOps(t *testing.T, want ...string) {
	t.Helper()
	if got := b.ops.take(); !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("store calls %v, want %v", got, want)
	}
}

// failing lets every write of the store fail with err.
func (b *bench) failing(err error) {
	before := b.store.before
	b.store.before = func(op, key string) error {
		if op == "Create" || op == "CompareAndSwap" {
			return errors.Join(before(op, key), err)
		}
		return before(op, key)
	}
}

// bump changes the session and hands on.
func (b *bench) bump(next http.HandlerFunc) http.Handler {
	return b.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.FromContext(r.Context()).Views++
		next(w, r)
	}))
}
